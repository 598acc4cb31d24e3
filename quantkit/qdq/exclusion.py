"""Nodes that stay in floating point because the user excludes them or because a range is missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import onnx

from quantkit.core.wildcards import matches
from quantkit.graph.graph import Graph
from quantkit.graph.operators import WEIGHTED

ARITHMETIC = WEIGHTED | {"Add", "Concat", "Mul"}  # all their inputs are values; of other operators, only the first is


def excluded_nodes(graph: Graph, exclude: Sequence[str] | Mapping[str, str], ranges: Collection[str]) -> dict[str, str]:
    """Return the names of the nodes that stay in floating point, each with the reason in words.

    Args:
        graph: The graph; every node has a name.
        exclude: Wildcards, perhaps each with its reason. A node is excluded if one matches its name or an output.
        ranges: The names of the tensors with a range. A node is excluded if it computes with an activation that has no
            range, or if none of its outputs has one.

    Returns:
        The reasons by name, in graph order.
    """
    known = {*ranges, *graph.initializers, ""}

    whys = exclude if isinstance(exclude, Mapping) else dict.fromkeys(exclude, "excluded")

    def matched(*names: str) -> str:
        return next((why for pattern, why in whys.items() if any(matches(name, [pattern]) for name in names)), "")

    def lacking(node: onnx.NodeProto) -> str:
        values = node.input if node.op_type in ARITHMETIC else node.input[:1]
        unknown = next((name for name in values if name not in known), "")
        if not unknown and not any(name in ranges for name in node.output):
            unknown = next(iter(node.output), node.name)
        return unknown

    reasons = {}
    for node in graph.nodes:
        if why := matched(node.name, *node.output):
            reasons[node.name] = why
        elif name := lacking(node):
            reasons[node.name] = matched(name) or f"no range was calibrated for {name}"
    return reasons
