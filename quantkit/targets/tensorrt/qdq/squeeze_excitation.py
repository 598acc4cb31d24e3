"""Squeeze and excitation for TensorRT: a branch of one pixel that scales the channels of what it is computed from.

Hu et al., "Squeeze-and-Excitation Networks" (2018), https://arxiv.org/abs/1709.01507: a global pool, two Convs of one
pixel, a gate, and the Mul that applies it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

import onnx
from onnx import numpy_helper

from quantkit.qdq.placement import Placement

GLOBAL_POOLS = ("GlobalAveragePool", "GlobalMaxPool")
REDUCTIONS = ("ReduceMean", "ReduceMax")
# What leaves a tensor of one pixel at that.
POINTWISE = ("Clip", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Mul", "Relu", "Sigmoid", "Tanh")


@dataclass(frozen=True)
class Gate:
    """The Mul of a tensor by its own gate; ``convs`` are those of one pixel that the gate is computed with."""

    mul: onnx.NodeProto
    scaled: str
    gate: str
    convs: tuple[onnx.NodeProto, ...]


def one_pixel_convs(graph: onnx.GraphProto) -> set[str]:
    """Names of the Convs behind a global pool, with nothing between that adds pixels."""
    behind = _behind_pools(graph)
    return {node.name for node in graph.node if node.op_type == "Conv" and node.input[0] in behind}


def gates_of(graph: onnx.GraphProto) -> list[Gate]:
    """Every Mul of a tensor by a tensor of one pixel that is computed from it, in graph order."""
    behind = _behind_pools(graph)
    found = []
    for node in graph.node:
        if node.op_type != "Mul" or node.output[0] in behind:
            continue
        for gate, scaled in (tuple(node.input), tuple(node.input)[::-1]):
            branch, roots = _branch(gate, behind)
            if roots == {scaled}:
                found.append(Gate(node, scaled, gate, tuple(own for own in branch if own.op_type == "Conv")))
    return found


def place_gates(placement: Placement, excluded: Set[str]) -> None:
    """Quantize whole branches: every gate whose product is taken by quantized layers alone gets pairs throughout.

    ``excluded`` names the nodes that the user keeps in floating point; the Convs of a branch may stand in the
    placement's own set until now.
    """
    for gate in gates_of(placement.graph):
        names = {gate.mul.name, *(conv.name for conv in gate.convs)}
        takes = (gate.scaled, gate.gate, *(conv.input[0] for conv in gate.convs))
        if names & excluded or not placement.all_take_quantized(gate.mul.output[0]):
            continue
        if all(name in placement.ranges for name in takes):
            placement.excluded -= names
            for conv in gate.convs:
                placement.place_weighted(conv)
            placement.quantized.add(gate.mul.name)
            placement.pair_output(gate.scaled)
            placement.pair_output(gate.gate)


def _behind_pools(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Every tensor of one pixel behind a global pool, the pools' own included, and the node that makes it."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    found: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        inputs = [name for name in node.input if name and name not in constants]
        weight = constants.get(node.input[1]) if node.op_type == "Conv" else None
        keeps = node.op_type in POINTWISE or (weight is not None and all(size == 1 for size in weight.dims[2:]))
        if _is_global_pool(node, constants) or (keeps and inputs and all(name in found for name in inputs)):
            found |= dict.fromkeys(node.output, node)
    return found


def _is_global_pool(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> bool:
    if node.op_type in GLOBAL_POOLS:
        return True
    if node.op_type not in REDUCTIONS or any(a.name == "keepdims" and not a.i for a in node.attribute):
        return False
    axes = next((list(a.ints) for a in node.attribute if a.name == "axes"), [])
    if len(node.input) > 1 and node.input[1] in constants:  # from opset 18 on
        axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
    return sorted(axes) in ([2, 3], [-2, -1])


def _branch(gate: str, behind: Mapping[str, onnx.NodeProto]) -> tuple[list[onnx.NodeProto], set[str]]:
    """The nodes that a tensor of one pixel is computed with, and what their pools take."""
    nodes: dict[str, onnx.NodeProto] = {}
    roots: set[str] = set()
    waiting = [gate]
    while waiting:
        node = behind.get(waiting.pop())
        if node is None or node.name in nodes:
            continue
        nodes[node.name] = node
        if node.op_type in (*GLOBAL_POOLS, *REDUCTIONS):
            roots.add(node.input[0])
        else:
            waiting += node.input
    return list(nodes.values()), roots
