"""Attention: both products in floating point where probabilities would not survive rounding."""

from __future__ import annotations

from quantkit.qdq.attention import scores_of, softmax_of
from quantkit.qdq.placement import Placement, blur_reason

UNFUSED = "the other product of its attention is in floating point, and only both together are fused"


def leave_blurred_attention(placement: Placement) -> None:
    """Leave both products of each attention in floating point whose probabilities rounding would blur.

    In engines that TensorRT for RTX 1.7.1 built of a ViT, an attention was one kernel with both products in INT8 and
    with both in FP16, but not with the scores in INT8 and the probabilities in FP16.
    """
    for node in placement.graph.of_type("MatMul"):
        blurred = placement.blurred(node)
        for name in blurred:
            placement.left.setdefault(node.name, blur_reason(blurred))
            softmax = softmax_of(placement.graph, name)
            for product in scores_of(placement.graph, softmax) if softmax is not None else ():
                placement.left.setdefault(product.name, UNFUSED)
