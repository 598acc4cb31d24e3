"""Weights of matrix products as TensorRT 8 wants them: in floating point, with a QuantizeLinear of their own.

TensorRT 8.6 takes a Conv's weight in INT8, but fails to build a transformer whose MatMul weights are ("Assertion
params.weights.type() != DataType::kINT8", measured on an H200). Strongly typed networks keep INT8.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx
from onnx import helper, numpy_helper

MATRIX_PRODUCTS = {"Gemm", "MatMul"}


def with_float_matrices(quantized: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every INT8 weight that only matrix products take is quantized from FP32 by the graph itself.

    The FP32 values are multiples of the scale, so that quantizing them gives the INT8 weight again, to the bit.
    """
    model = onnx.ModelProto()
    model.CopyFrom(quantized)
    takers: dict[str, set[str]] = defaultdict(set)
    for node in model.graph.node:
        for name in node.input:
            takers[name].add(node.op_type)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        weight = weights.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if weight is not None and takers[node.output[0]] and takers[node.output[0]] <= MATRIX_PRODUCTS:
            nodes.append(_quantize(weight, node, weights))
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _quantize(
    weight: onnx.TensorProto, dequantize: onnx.NodeProto, weights: dict[str, onnx.TensorProto]
) -> onnx.NodeProto:
    """Put FP32 in the weight's place; the node that makes INT8 of it takes over the weight's name."""
    axis = next((a.i for a in dequantize.attribute if a.name == "axis"), 1)
    scale = numpy_helper.to_array(weights[dequantize.input[1]])
    values = numpy_helper.to_array(weight)
    shape = [-1 if position == axis % values.ndim else 1 for position in range(values.ndim)] if scale.ndim else []
    name, source = weight.name, f"{weight.name}_from"
    weight.CopyFrom(numpy_helper.from_array((values * scale.reshape(shape)).astype(np.float32), source))
    return helper.make_node(
        "QuantizeLinear", [source, *dequantize.input[1:]], [name], name=f"{dequantize.name}_Quantize", axis=axis
    )
