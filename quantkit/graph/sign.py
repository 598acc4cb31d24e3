"""Which tensors are never below zero, whatever the model is given."""

from __future__ import annotations

import onnx
from onnx import numpy_helper
from onnx.external_data_helper import uses_external_data

from quantkit.graph.model_file import LARGEST_KEPT

ALWAYS = {"Relu", "Sigmoid", "HardSigmoid", "Softmax", "Softplus", "Exp", "Abs", "Sqrt", "ReduceL1", "ReduceL2"}
OF_ALL_INPUTS = {"Add", "Concat", "Div", "Max", "Mean", "Min", "Mul", "Sum"}
OF_THE_FIRST = {
    "AveragePool", "Cast", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "GlobalAveragePool",
    "GlobalMaxPool", "Identity", "MaxPool", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Reshape", "Slice",
    "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip


def never_negative(graph: onnx.GraphProto) -> set[str]:
    """Names of activations that cannot be negative: behind a ReLU, a Clip from 0 up, a sigmoid, and what keeps signs.

    Cautious: what is not known to be so is left out, large constants among it.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        value = next((a for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            constants[node.output[0]] = value.t
    found: set[str] = set()
    for node in graph.node:
        if node.domain in ("", "ai.onnx") and _is_never_negative(node, found, constants):
            found.update(name for name in node.output if name)
    return found


def _is_never_negative(node: onnx.NodeProto, found: set[str], constants: dict[str, onnx.TensorProto]) -> bool:
    def known(name: str) -> bool:
        return name in found or _least(constants.get(name)) >= 0

    if node.op_type in ALWAYS:
        return True
    if node.op_type == "Clip":
        bound = next((a.f for a in node.attribute if a.name == "min"), float("-inf"))
        if len(node.input) > 1 and node.input[1]:
            bound = _least(constants.get(node.input[1]))
        return bound >= 0 or node.input[0] in found
    if node.op_type in OF_ALL_INPUTS:
        return all(map(known, node.input))
    return node.op_type in OF_THE_FIRST and len(node.input) > 0 and node.input[0] in found


def _least(constant: onnx.TensorProto | None) -> float:
    """The smallest value of a constant; -inf where it is none, or too large to be kept."""
    if constant is None or uses_external_data(constant):
        return float("-inf")
    try:
        values = numpy_helper.to_array(constant)
    except (ValueError, TypeError):  # without its data, as larger ones are in ModelFile.graph_only
        return float("-inf")
    return float(values.min()) if 0 < values.size <= LARGEST_KEPT and values.dtype.kind == "f" else float("-inf")
