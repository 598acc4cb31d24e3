"""Nodes that stay in floating point: by the user's choice, and for want of a range."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

import onnx

from quantkit.graph.graph import Graph
from quantkit.graph.operators import WEIGHTED

ARITHMETIC = WEIGHTED | {"Add", "Concat", "Mul"}  # all their inputs are values; elsewhere the first alone


def excluded_nodes(graph: Graph, exclude: Sequence[str], ranges: Collection[str]) -> list[str]:
    """Names of nodes that a wildcard matches, by node or output, or that compute with a tensor without a range."""
    known = {*ranges, *graph.initializers, ""}

    def matched(node: onnx.NodeProto) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in exclude for name in (node.name, *node.output))

    def lacks_range(node: onnx.NodeProto) -> bool:
        values = node.input if node.op_type in ARITHMETIC else node.input[:1]
        return not any(name in ranges for name in node.output) or any(name not in known for name in values)

    return [node.name for node in graph.nodes if matched(node) or lacks_range(node)]
