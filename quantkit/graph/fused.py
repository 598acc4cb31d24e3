"""Activations that exist only inside a fused kernel, and the tensors that stand in for them."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from quantkit.core.ranges import TensorRange
from quantkit.graph.graph import Graph, attribute, operand, result
from quantkit.graph.operators import CLAMPS, WEIGHTED, is_default_domain

FUSES_WITH_ACTIVATION = WEIGHTED | {"Add", "BatchNormalization"}


def fused_outputs(graph: Graph) -> dict[str, str]:
    """Return the tensors that exist only inside a fused kernel, each with the tensor that the kernel outputs.

    These are the outputs of a Conv, Gemm, BatchNormalization and the like that feed one ReLU or Clip (or, after a Conv,
    one BatchNormalization that is folded into it) and nothing else. A graph with subgraphs has none.
    """
    if graph.has_subgraphs:
        return {}
    fused: dict[str, str] = {}
    for node in reversed(graph.nodes):
        name = result(node)
        user = graph.only_consumer(name)
        if user is None or not is_default_domain(node) or node.op_type not in FUSES_WITH_ACTIVATION:
            continue
        if operand(user, 0) == name and (user.op_type in CLAMPS or folding_conv(graph, user) is not None):
            fused[name] = fused.get(result(user), result(user))
    return fused


def with_fused(graph: Graph, ranges: Mapping[str, TensorRange]) -> dict[str, TensorRange]:
    """Return ``ranges`` completed for fused tensors.

    Args:
        graph: The graph.
        ranges: The known ranges by tensor.

    Returns:
        The known ranges, and for each fused tensor without one the range of the kernel's output: the kernel cuts off
        everything outside it.
    """
    derived = {name: ranges[after] for name, after in fused_outputs(graph).items() if after in ranges}
    return derived | dict(ranges)


def folding_conv(graph: Graph, norm: onnx.NodeProto) -> onnx.NodeProto | None:
    """Return the Conv that a BatchNormalization can be folded into.

    Nothing else may consume the Conv's output, no other node may use its weight, and all parameters must be constant.
    In training mode it normalizes by the batch that it sees, and cannot be folded.

    Args:
        graph: The graph.
        norm: Any node of the graph.

    Returns:
        The Conv; None for a BatchNormalization that cannot be folded, and for any other node.
    """
    if norm.op_type != "BatchNormalization" or attribute(norm, "training_mode", 0):
        return None
    conv = graph.producer(operand(norm, 0))
    if conv is None or conv.op_type != "Conv":
        return None
    alone = graph.only_consumer(result(conv)) is not None and graph.only_consumer(operand(conv, 1)) is not None
    constant = all(name in graph.constants for name in (*conv.input[1:], *norm.input[1:]))
    return conv if alone and constant else None
