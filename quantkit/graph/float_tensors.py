"""The tensors of a model that can have a range, told from the graph alone: no runtime is asked."""

from __future__ import annotations

import onnx

from quantkit.qdq.placement import WEIGHTED
from quantkit.runtime.activations import activation_names

FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}


def float_tensors(model: onnx.ModelProto) -> list[str]:
    """The float inputs and activations, in graph order; those of operators that ONNX does not know count as float."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info, *graph.output)}
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in weights]
    names = dict.fromkeys([*inputs, *activation_names(graph)])
    return [name for name in names if types.get(name, 0) in FLOATS | {0}]


def needed_tensors(graph: onnx.GraphProto, floats: list[str]) -> list[str]:
    """Those of ``floats`` that a Conv, ConvTranspose, Gemm or MatMul takes: every form of INT8 has a range for them."""
    taken = {name for node in graph.node if node.op_type in WEIGHTED for name in node.input}
    return [name for name in floats if name in taken]
