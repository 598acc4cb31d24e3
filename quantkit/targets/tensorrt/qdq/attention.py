"""Attention: both products in floating point where probabilities would not survive rounding."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from quantkit.graph.graph import Graph
from quantkit.graph.operators import MATRIX_PRODUCTS
from quantkit.qdq.attention import scores_of, softmax_of
from quantkit.qdq.placement import Placement, blur_reason

UNFUSED = "the other product of its attention is in floating point, and only both together are fused"


def leave_blurred_attention(placement: Placement) -> None:
    """Leave both products of each attention in floating point whose probabilities rounding would blur.

    In engines that TensorRT for RTX 1.7.1 built of a ViT, an attention was one kernel with both products in INT8 and
    with both in FP16, but not with the scores in INT8 and the probabilities in FP16. So are attentions left that share
    a product with one that is.
    """
    gone: set[str] = set()
    for node in placement.graph.of_type(*MATRIX_PRODUCTS):
        if reason := blur_reason(placement.blurred(node)):
            placement.left.setdefault(node.name, reason)
            gone.add(node.name)
    attentions = [{node.name, *(own.name for own in scores)} for node, _, scores in _attentions(placement.graph)]
    while split := [names for names in attentions if names & gone and not names <= gone]:
        gone.update(*split)
    for name in sorted(gone):
        placement.left.setdefault(name, UNFUSED)


def blurred_attentions(placement: Placement) -> dict[str, float]:
    """Return what rounding would leave, in dB, of the probabilities of each attention that was left for that reason.

    Returns:
        By the output of the Softmax.
    """
    found: dict[str, float] = {}
    for node, softmax, _ in _attentions(placement.graph):
        blurred = placement.blurred(node)
        if blurred and placement.left.get(node.name) == blur_reason(blurred):
            found[softmax.output[0]] = min(blurred.values())
    return found


def _attentions(graph: Graph) -> Iterator[tuple[onnx.NodeProto, onnx.NodeProto, list[onnx.NodeProto]]]:
    """Yield the product that weighs with probabilities, their Softmax, and the products that give its scores."""
    for node in graph.of_type(*MATRIX_PRODUCTS):
        for name in node.input[:2]:
            softmax = softmax_of(graph, name)
            if softmax is not None:
                yield node, softmax, scores_of(graph, softmax)
