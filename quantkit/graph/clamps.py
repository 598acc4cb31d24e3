"""Activations that follow from another activation by clamping it."""

from __future__ import annotations

from collections.abc import Container

from quantkit.core.statistics.clamp import Clamp
from quantkit.graph.graph import Graph, operand, result
from quantkit.graph.operators import CLAMPS, clip_bounds


def clamps_of(graph: Graph, wanted: Container[str]) -> list[Clamp]:
    """Return the clamps of a graph: ReLUs, and Clips with constant bounds.

    No clamp's input is the output of another one, so that every source is computed by itself. A clamp whose output is a
    graph output is left out.

    Args:
        graph: The graph.
        wanted: Names of tensors; a clamp is returned only if it contains both its input and its output.

    Returns:
        The clamps in graph order.
    """
    found: dict[str, Clamp] = {}
    for node in graph.of_type(*CLAMPS):
        bounds = clip_bounds(node, graph.constants)
        if bounds is None or bounds[0] > bounds[1]:
            continue
        source, name = operand(node, 0), result(node)
        if source in wanted and name in wanted and source not in found and name not in graph.outputs:
            found[name] = Clamp(name, source, *bounds)
    return list(found.values())
