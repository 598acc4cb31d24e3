"""Convs that cut an image into patches, as a vision transformer or a ConvNeXt begins."""

from __future__ import annotations

import onnx

from quantkit.graph.graph import Graph, attribute, operand
from quantkit.graph.operators import WEIGHTED, moves_values

PATCH_CONV = "a Conv that cuts the image into patches, where INT8 is slower than FP16"  # why it stays in floating point
COLOURS = 4  # input channels of an image, at most
FUSED = frozenset({"Clip", "LeakyRelu", "Relu"})  # what TensorRT computes in the same kernel as a Conv


def patch_convs(graph: Graph) -> set[str]:
    """Return the names of the Convs whose kernel covers each pixel of an image once, and that no layer reads.

    What such a Conv gives goes to a sum or a LayerNormalization in floating point, so that an INT8 kernel would only
    add the rounding and the reordering of the whole image.
    """
    return {node.name for node in graph.of_type("Conv") if _cuts_an_image(graph, node) and not _feeds(graph, node)}


def _cuts_an_image(graph: Graph, node: onnx.NodeProto) -> bool:
    weight = graph.initializers.get(operand(node, 1))
    if weight is None or attribute(node, "group", 1) != 1:
        return False
    channels, kernel = weight.dims[1], list(weight.dims[2:])
    one = [1] * len(kernel)
    once = attribute(node, "strides", one) == kernel and attribute(node, "dilations", one) == one
    return channels <= COLOURS and max(kernel) > 1 and once


def _feeds(graph: Graph, node: onnx.NodeProto) -> bool:
    """True if a layer with a weight reads what a node gives, with nothing between them that is in floating point."""
    waiting, seen = [node.output[0]], {node.output[0]}
    while waiting:
        for user, _ in graph.consumers(waiting.pop()):
            if user.op_type in WEIGHTED:
                return True
            if (user.op_type in FUSED or moves_values(user)) and user.output[0] not in seen:
                seen.add(user.output[0])
                waiting.append(user.output[0])
    return False
