"""Squeeze and excitation for TensorRT: a branch of one pixel that scales the channels of the tensor it comes from.

Hu et al., "Squeeze-and-Excitation Networks" (2018), https://arxiv.org/abs/1709.01507: a global pool, two Convs on one
pixel, a gate, and the Mul that applies it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

import onnx

from quantkit.graph.graph import Graph
from quantkit.graph.one_pixel import REDUCTIONS, behind_pools
from quantkit.graph.operators import GLOBAL_POOLS
from quantkit.qdq.placement import Placement


@dataclass(frozen=True)
class Gate:
    """The product of a tensor and its gate.

    Attributes:
        mul: The Mul.
        scaled: The tensor.
        gate: The gate.
        convs: The Convs on one pixel that compute the gate.
    """

    mul: onnx.NodeProto
    scaled: str
    gate: str
    convs: tuple[onnx.NodeProto, ...]


def gates_of(graph: Graph) -> list[Gate]:
    """Return every Mul of a tensor by a tensor of one pixel that is computed from it, in graph order."""
    behind = behind_pools(graph)
    found = []
    for node in graph.of_type("Mul"):
        if node.output[0] in behind:
            continue
        for gate, scaled in (tuple(node.input), tuple(node.input)[::-1]):
            branch, roots = _branch(gate, behind)
            if roots == {scaled}:
                found.append(Gate(node, scaled, gate, tuple(own for own in branch if own.op_type == "Conv")))
    return found


def place_gates(placement: Placement, excluded: Set[str]) -> None:
    """Quantize whole branches: every gate whose product has only quantized consumers gets pairs throughout.

    Args:
        placement: The placement; it is changed. Until now, the Convs of a branch may stay in floating point.
        excluded: The names of the nodes that the user keeps in floating point.
    """
    for gate in gates_of(placement.graph):
        names = {gate.mul.name, *(conv.name for conv in gate.convs)}
        consumed = (gate.scaled, gate.gate, *(conv.input[0] for conv in gate.convs))
        if names & excluded or not placement.all_consumers_quantized(gate.mul.output[0]):
            continue
        if all(name in placement.ranges for name in consumed):
            for name in names:
                placement.left.pop(name, None)
            for conv in gate.convs:
                placement.place_weighted(conv)
            placement.quantized.add(gate.mul.name)
            placement.pair_for_consumers(gate.scaled)
            placement.pair_for_consumers(gate.gate)


def _branch(gate: str, behind: Mapping[str, onnx.NodeProto]) -> tuple[list[onnx.NodeProto], set[str]]:
    """Return the nodes that compute a tensor of one pixel, and the inputs of their pools."""
    nodes: dict[str, onnx.NodeProto] = {}
    roots: set[str] = set()
    waiting = [gate]
    while waiting:
        node = behind.get(waiting.pop())
        if node is None or node.name in nodes:
            continue
        nodes[node.name] = node
        if node.op_type in GLOBAL_POOLS | REDUCTIONS:
            roots.add(node.input[0])
        else:
            waiting += node.input
    return list(nodes.values()), roots
