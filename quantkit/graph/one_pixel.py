"""Tensors of one pixel: what is computed from a global pool, as in squeeze and excitation."""

from __future__ import annotations

import onnx

from quantkit.graph.graph import Graph, attribute, operand
from quantkit.graph.operators import GLOBAL_POOLS

ONE_PIXEL_CONV = "a Conv on one pixel, where a pair costs more than INT8 saves"  # why it stays in floating point
REDUCTIONS = frozenset({"ReduceMean", "ReduceMax"})
# Operators whose output has one pixel if their inputs have.
ONE_PIXEL = {"Clip", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Mul", "Relu", "Sigmoid", "Tanh"}


def one_pixel_convs(graph: Graph) -> set[str]:
    """Return the names of the Convs after a global pool, with nothing between them that adds pixels."""
    behind = behind_pools(graph)
    return {node.name for node in graph.of_type("Conv") if node.input[0] in behind}


def behind_pools(graph: Graph) -> dict[str, onnx.NodeProto]:
    """Return every tensor of one pixel after a global pool, including the pools' outputs, with its producer."""
    found: dict[str, onnx.NodeProto] = {}
    for node in graph.nodes:
        inputs = [name for name in node.input if name and name not in graph.constants]
        weight = graph.constants.get(operand(node, 1)) if node.op_type == "Conv" else None
        keeps = node.op_type in ONE_PIXEL or (weight is not None and all(size == 1 for size in weight.dims[2:]))
        if _is_global_pool(graph, node) or (keeps and inputs and all(name in found for name in inputs)):
            found |= dict.fromkeys(node.output, node)
    return found


def _is_global_pool(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type in GLOBAL_POOLS:
        return True
    if node.op_type not in REDUCTIONS or not attribute(node, "keepdims", 1):
        return False
    axes = graph.array(operand(node, 1))  # an input since opset 18
    return sorted(attribute(node, "axes", []) if axes is None else axes.reshape(-1).tolist()) in ([2, 3], [-2, -1])
