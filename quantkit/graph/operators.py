"""What is true of ONNX operators, each fact once."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx

from quantkit.graph.graph import Graph, attribute, operand, values_of
from quantkit.graph.model_file import LARGEST_KEPT

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
MATRIX_PRODUCTS = frozenset({"Gemm", "MatMul"})
WEIGHTED = CONVOLUTIONS | MATRIX_PRODUCTS
PRODUCTS = WEIGHTED - {"ConvTranspose"}  # output channels lie along one axis of the weight, groups or not

CLAMPS = frozenset({"Clip", "Relu"})
ACTIVATIONS = CLAMPS | {
    "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Selu", "Sigmoid", "Softplus", "Swish",
    "Tanh",
}  # fmt: skip
POINTWISE = ACTIVATIONS | {"Add", "Div", "Mul", "Sub"}

AVERAGE_POOLS = frozenset({"AveragePool", "GlobalAveragePool"})
GLOBAL_POOLS = frozenset({"GlobalAveragePool", "GlobalMaxPool"})

# Every value of the output is one of the first input's, and none is lost.
REARRANGING = frozenset({
    "DepthToSpace", "Dropout", "Expand", "Flatten", "Identity", "Reshape", "SpaceToDepth", "Squeeze", "Tile",
    "Transpose", "Unsqueeze",
})  # fmt: skip
# Every value of an output is one of the first input's; positions, not values, decide which.
PARTING = frozenset({"Gather", "GatherElements", "GatherND", "Slice", "Split"})
# These compute no values, so that a report does not list them as layers.
MOVING = REARRANGING | PARTING | {"Cast", "Pad", "Shape"}

# Which outputs are never below zero: all of them; if all inputs are; if the first input is.
NEVER_NEGATIVE = frozenset({
    "Abs", "Exp", "HardSigmoid", "ReduceL1", "ReduceL2", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt",
})  # fmt: skip
SIGN_OF_ALL_INPUTS = frozenset({"Add", "Concat", "Div", "Max", "Mean", "Min", "Mul", "Sum"})
SIGN_OF_FIRST_INPUT = REARRANGING | PARTING | AVERAGE_POOLS | {
    "Cast", "GlobalMaxPool", "MaxPool", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum",
}  # fmt: skip


def is_default_domain(node: onnx.NodeProto) -> bool:
    """True if the operator is ONNX's own, not of a library such as ``com.microsoft``."""
    return node.domain in ("", "ai.onnx")


def weight_output_axis(node: onnx.NodeProto, rank: int) -> int:
    """The axis of a weight, the node's second input, that counts output channels.

    A grouped ConvTranspose counts along it the channels of one group. ``rank`` is the weight's, which is 2 or more.
    Raises ValueError for an operator that is not WEIGHTED.
    """
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    if node.op_type == "MatMul":
        return rank - 1
    raise ValueError(f"{node.op_type} has no weight")


def is_plain_product(node: onnx.NodeProto) -> bool:
    """True unless a Gemm transposes its first input, or scales its product (``alpha``) or its bias (``beta``)."""
    factors = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
    return node.op_type != "Gemm" or (factors == (1.0, 1.0) and not attribute(node, "transA", 0))


def clip_bounds(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> tuple[float, float] | None:
    """Where a ReLU or Clip cuts off below and above, ±inf where it does not.

    None for any other node, and for a Clip with a bound that is computed, is no single number, or is not here.
    """
    if not is_default_domain(node) or node.op_type not in CLAMPS:
        return None
    if node.op_type == "Relu":
        return 0.0, math.inf
    low, high = _clip_bound(node, 1, constants), _clip_bound(node, 2, constants)
    return None if low is None or high is None else (low, high)


def _clip_bound(node: onnx.NodeProto, position: int, constants: Mapping[str, onnx.TensorProto]) -> float | None:
    """A Clip's lower bound (position 1) or upper one (2); an attribute before opset 11. None where it is unknown."""
    name = operand(node, position)
    if not name:
        return attribute(node, "min", -math.inf) if position == 1 else attribute(node, "max", math.inf)
    bound = values_of(constants[name], name) if name in constants else None
    return float(bound.item()) if bound is not None and bound.size == 1 else None


def is_nearest_resize(node: onnx.NodeProto) -> bool:
    """True if a node is a Resize that only picks values of its input."""
    invents = attribute(node, "coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"  # outside the box
    return node.op_type == "Resize" and attribute(node, "mode", "nearest") == "nearest" and not invents


def commutes_with_rounding(node: onnx.NodeProto) -> bool:
    """True if a per-tensor pair gives the same bits before a node, on its first input, as behind it, on its outputs.

    Each output value is then a value of the first input, chosen by its position or because it is the largest: rounding
    keeps order. It is not so for:

    - Cast: FP16 and integers round values once more, and FP32 rounds other quotients than FP16 does.
    - Pad: what it adds may be no multiple of the scale, and an integer 0 stands for another value than 0.
    - MaxPool with indices: rounding makes ties, which change them.
    - Dropout with an input for the training mode, which scales values.
    - Concat, Where, Max and others of several inputs, which commute only if one scale serves them all.

    GlobalMaxPool and ReduceMax commute as well, and are left out: TensorRT is not known to move pairs over them.
    """
    if not is_default_domain(node):
        return False
    if node.op_type == "Dropout":
        return not operand(node, 2)
    if node.op_type == "MaxPool":
        return len(node.output) < 2 or not node.output[1]
    return node.op_type in REARRANGING | PARTING or is_nearest_resize(node)


def parts_a_tensor(node: onnx.NodeProto) -> bool:
    """True if an output may hold a part of the input alone, and so may have a smaller range than the input."""
    return is_default_domain(node) and node.op_type in PARTING


def never_negative(graph: Graph) -> set[str]:
    """Names of activations that are never below zero, whatever the input: behind a ReLU, a sigmoid, a Clip from 0.

    Cautious: what is not known to be so is left out, and so are constants of more than LARGEST_KEPT values.
    """
    found: set[str] = set()
    for node in graph.nodes:
        if is_default_domain(node) and _is_never_negative(node, graph, found):
            found.update(name for name in node.output if name)
    return found


def _is_never_negative(node: onnx.NodeProto, graph: Graph, found: set[str]) -> bool:
    first = operand(node, 0) in found
    if node.op_type == "Clip":
        low = _clip_bound(node, 1, graph.constants)
        return first or (low is not None and low >= 0)
    if node.op_type in SIGN_OF_ALL_INPUTS:
        return all(name in found or _is_never_negative_constant(graph, name) for name in node.input)
    return node.op_type in NEVER_NEGATIVE or (node.op_type in SIGN_OF_FIRST_INPUT and first)


def _is_never_negative_constant(graph: Graph, name: str) -> bool:
    tensor = graph.constants.get(name)
    if tensor is None or not 0 < math.prod(tensor.dims) <= LARGEST_KEPT:
        return False
    values = values_of(tensor, name)
    return values is not None and values.dtype.kind == "f" and bool(values.min() >= 0)
