"""Nodes that stay in floating point because the user excludes them or because a range is missing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx

from quantkit.core.wildcards import matches
from quantkit.graph.graph import Graph
from quantkit.graph.operators import WEIGHTED

ARITHMETIC = WEIGHTED | {"Add", "Concat", "Mul"}  # all their inputs are values; of other operators, only the first is


def excluded_nodes(graph: Graph, exclude: Sequence[str], ranges: Collection[str]) -> list[str]:
    """Return the names of the nodes that stay in floating point.

    Args:
        graph: The graph; every node has a name.
        exclude: Wildcards. A node is excluded if one matches its name or an output.
        ranges: The names of the tensors with a range. A node is excluded if it computes with an activation that has no
            range, or if none of its outputs has one.

    Returns:
        The names, in graph order.
    """
    known = {*ranges, *graph.initializers, ""}

    def matched(node: onnx.NodeProto) -> bool:
        return any(matches(name, exclude) for name in (node.name, *node.output))

    def lacks_range(node: onnx.NodeProto) -> bool:
        values = node.input if node.op_type in ARITHMETIC else node.input[:1]
        return not any(name in ranges for name in node.output) or any(name not in known for name in values)

    return [node.name for node in graph.nodes if matched(node) or lacks_range(node)]
