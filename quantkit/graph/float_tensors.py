"""The tensors of a model that can have a range, found from the graph alone, without a runtime."""

from __future__ import annotations

import onnx

from quantkit.graph.graph import Graph, activation_names
from quantkit.graph.operators import WEIGHTED

FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}


def float_tensors(model: onnx.ModelProto) -> list[str]:
    """Return the names of the float inputs and activations, in graph order.

    Outputs of operators that ONNX does not know count as float.
    """
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*inferred.input, *inferred.value_info, *inferred.output)}
    graph = Graph(inferred)
    names = dict.fromkeys([*graph.inputs, *activation_names(graph)])
    return [name for name in names if types.get(name, 0) in FLOATS | {0}]


def needed_tensors(graph: Graph, floats: list[str]) -> list[str]:
    """Return the names in ``floats`` that a weighted layer consumes: every form of INT8 needs a range for them."""
    consumed = {name for node in graph.of_type(*WEIGHTED) for name in node.input}
    return [name for name in floats if name in consumed]
