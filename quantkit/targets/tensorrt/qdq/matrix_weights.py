"""Weights of matrix products in the form that TensorRT 8 needs: in floating point, with a QuantizeLinear.

TensorRT 8.6 accepts a Conv's weight in INT8, but fails to build a transformer whose MatMul weights are in INT8
("Assertion params.weights.type() != DataType::kINT8", measured on an H200). Strongly typed networks keep INT8.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from quantkit.graph.graph import Graph, attribute
from quantkit.graph.operators import DEQUANTIZE, MATRIX_PRODUCTS, QUANTIZE


def with_float_matrices(quantized: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy with FP32 weights and a QuantizeLinear for every INT8 weight that only matrix products consume.

    The FP32 values are multiples of the scale, so that quantizing them gives the same INT8 weight to the bit.
    """
    model = onnx.ModelProto()
    model.CopyFrom(quantized)
    graph = Graph(model.graph)
    nodes = []
    for node in graph.nodes:
        weight = graph.initializers.get(node.input[0]) if node.op_type == DEQUANTIZE else None
        users = {user.op_type for user, _ in graph.consumers(node.output[0])} if weight is not None else set()
        if weight is not None and users and users <= MATRIX_PRODUCTS:
            nodes.append(_quantize(weight, node, graph.initializers))
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _quantize(
    weight: onnx.TensorProto, dequantize: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]
) -> onnx.NodeProto:
    """Replace a weight with FP32 values; return the node that quantizes them, whose output has the weight's name."""
    axis = attribute(dequantize, "axis", 1)
    scale = numpy_helper.to_array(constants[dequantize.input[1]])
    values = numpy_helper.to_array(weight)
    shape = [-1 if position == axis % values.ndim else 1 for position in range(values.ndim)] if scale.ndim else []
    name, source = weight.name, f"{weight.name}_from"
    weight.CopyFrom(numpy_helper.from_array((values * scale.reshape(shape)).astype(np.float32), source))
    return helper.make_node(
        QUANTIZE, [source, *dequantize.input[1:]], [name], name=f"{dequantize.name}_Quantize", axis=axis
    )
