"""The kernel_shape of Convs, which ONNX infers from the weight where it is not stated.

TensorRT 8.6's parser infers it for a weight that is a constant, but not for one behind a DequantizeLinear: it refuses
the Conv, as its "input tensor shape misaligns with the input kernel shape".
"""

from __future__ import annotations

import onnx

from quantkit.graph.graph import Graph, attribute, operand
from quantkit.graph.operators import CONVOLUTIONS

KERNEL_SHAPE = "kernel_shape"


def lacks_kernel_shape(node: onnx.NodeProto) -> bool:
    """True for a Conv or ConvTranspose that leaves its kernel_shape to be inferred."""
    return node.op_type in CONVOLUTIONS and not attribute(node, KERNEL_SHAPE, [])


def state_kernel_shapes(graph: Graph) -> None:
    """Give every Conv and ConvTranspose its kernel_shape, in place, if its weight is an initializer."""
    for node in filter(lacks_kernel_shape, graph.nodes):
        weight = graph.initializers.get(operand(node, 1))
        if weight is not None:
            node.attribute.append(onnx.helper.make_attribute(KERNEL_SHAPE, list(weight.dims)[2:]))
