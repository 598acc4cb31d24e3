"""Topological order of nodes, which counts what subgraphs read from the graphs around them."""

from __future__ import annotations

import heapq
from collections import defaultdict

import onnx

from quantkit.core.errors import BadModel
from quantkit.graph.graph import captured_names, label, subgraphs


def sort_nodes(graph: onnx.GraphProto) -> bool:
    """Sort the nodes of a graph and of the graphs inside it, each as early as possible in the order that it had.

    Args:
        graph: The graph; it is edited.

    Returns:
        True if anything was out of order.

    Raises:
        BadModel: Nodes depend on each other in a circle.
    """
    changed = False
    for node in graph.node:
        for inner in subgraphs(node):
            changed |= sort_nodes(inner)
    order = _order(graph)
    if order == list(range(len(order))):
        return changed
    nodes = [graph.node[number] for number in order]
    sorted_nodes = [onnx.NodeProto() for _ in nodes]
    for copy, node in zip(sorted_nodes, nodes, strict=True):
        copy.CopyFrom(node)
    del graph.node[:]
    graph.node.extend(sorted_nodes)
    return True


def is_sorted(graph: onnx.GraphProto) -> bool:
    """True if :func:`sort_nodes` would change nothing. Raises BadModel for a circle."""
    inner = (own for node in graph.node for own in subgraphs(node))
    order = _order(graph)
    return order == list(range(len(order))) and all(map(is_sorted, inner))


def _order(graph: onnx.GraphProto) -> list[int]:
    producers = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
    waiting: list[int] = []  # the number of producers that a node still waits for
    users: dict[int, list[int]] = defaultdict(list)
    for number, node in enumerate(graph.node):
        before = {producers[name] for name in {*node.input, *captured_names(node)} if name in producers}
        waiting.append(len(before))
        for producer in before:
            users[producer].append(number)
    ready = [number for number, count in enumerate(waiting) if not count]
    order = []
    while ready:
        number = heapq.heappop(ready)
        order.append(number)
        for user in users[number]:
            waiting[user] -= 1
            if not waiting[user]:
                heapq.heappush(ready, user)
    if len(order) < len(waiting):
        stuck = next(graph.node[number] for number, count in enumerate(waiting) if count)
        raise BadModel(
            f"The model's nodes depend on each other in a circle ({stuck.op_type} {label(stuck)!r}).",
            "Export it to ONNX again.",
        )
    return order
