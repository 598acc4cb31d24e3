"""Activations that follow from another one because they only cut it off."""

from __future__ import annotations

from collections.abc import Container

from quantkit.core.statistics.clamp import Clamp
from quantkit.graph.graph import Graph, operand, result
from quantkit.graph.operators import CLAMPS, clip_bounds


def clamps_of(graph: Graph, wanted: Container[str]) -> list[Clamp]:
    """The ReLUs and Clips of constant bounds whose input and output are both ``wanted``, in graph order.

    The input of none is the output of another one, so that every source is computed by itself.
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
