"""Facts about ONNX operators, each stated once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

import onnx

from quantkit.graph.graph import LARGEST_KEPT, Graph, attribute, operand, values_of

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"

ONNX_DOMAINS = frozenset({"ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "ai.onnx.training"})

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
MATRIX_PRODUCTS = frozenset({"Gemm", "MatMul"})
WEIGHTED = CONVOLUTIONS | MATRIX_PRODUCTS
PRODUCTS = WEIGHTED - {"ConvTranspose"}  # all output channels lie along one axis of the weight, even with groups

CLAMPS = frozenset({"Clip", "Relu"})
ACTIVATIONS = CLAMPS | {
    "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Selu", "Sigmoid", "Softplus", "Swish",
    "Tanh",
}  # fmt: skip
POINTWISE = ACTIVATIONS | {"Add", "Div", "Mul", "Sub"}

AVERAGE_POOLS = frozenset({"AveragePool", "GlobalAveragePool"})
GLOBAL_POOLS = frozenset({"GlobalAveragePool", "GlobalMaxPool"})

# Every value of the output is a value of the first input, and none is lost.
REARRANGING = frozenset({
    "DepthToSpace", "Dropout", "Expand", "Flatten", "Identity", "Reshape", "SpaceToDepth", "Squeeze", "Tile",
    "Transpose", "Unsqueeze",
})  # fmt: skip
# Every value of an output is a value of the first input, selected by its position.
PARTING = frozenset({"Gather", "GatherElements", "GatherND", "Slice", "Split"})
# These do not compute values, so reports do not list them as layers.
MOVING = REARRANGING | PARTING | {"Cast", "Pad", "Shape"}

# Operators whose outputs are never negative: always; if all inputs are never negative; if the first input is.
NEVER_NEGATIVE = frozenset({
    "Abs", "Exp", "HardSigmoid", "ReduceL1", "ReduceL2", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt",
})  # fmt: skip
SIGN_OF_ALL_INPUTS = frozenset({"Add", "Concat", "Div", "Max", "Mean", "Min", "Mul", "Sum"})
SIGN_OF_FIRST_INPUT = REARRANGING | PARTING | AVERAGE_POOLS | {
    "Cast", "GlobalMaxPool", "MaxPool", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum",
}  # fmt: skip


def is_default_domain(node: onnx.NodeProto) -> bool:
    """True if the operator is one of ONNX's own, not from a library such as ``com.microsoft``."""
    return node.domain in ("", "ai.onnx")


def is_foreign(node: onnx.NodeProto) -> bool:
    """True for an operator that is neither ONNX's nor of onnxruntime's own domains, such as TensorRT's plugins."""
    if is_default_domain(node):
        return node.op_type not in _names()
    return node.domain not in ONNX_DOMAINS and not node.domain.startswith("com.microsoft")


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    """Return the names of ONNX's own operators, of all opsets."""
    return frozenset(own.name for own in onnx.defs.get_all_schemas_with_history() if own.domain == "")


def qualified(node: onnx.NodeProto) -> str:
    """Return a node's operator, with its domain if that is not ONNX's own."""
    return node.op_type if is_default_domain(node) else f"{node.domain}.{node.op_type}"


def weight_output_axis(node: onnx.NodeProto, rank: int) -> int:
    """Return the axis of a weight, the node's second input, along which the output channels lie.

    For a grouped ConvTranspose, the axis holds only the channels of one group.

    Args:
        node: A node whose operator is in WEIGHTED.
        rank: The rank of the weight, 2 or more.

    Returns:
        The axis.

    Raises:
        ValueError: The operator is not in WEIGHTED.
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
    """Return the bounds of a ReLU or Clip.

    Args:
        node: Any node.
        constants: The constants of the graph, by name.

    Returns:
        The lower and the upper bound, -inf and inf where there is none. None for any other node, and for a Clip with a
        bound that is computed, is not a single number, or has no data here.
    """
    if not is_default_domain(node) or node.op_type not in CLAMPS:
        return None
    if node.op_type == "Relu":
        return 0.0, math.inf
    low, high = _clip_bound(node, 1, constants), _clip_bound(node, 2, constants)
    return None if low is None or high is None else (low, high)


def _clip_bound(node: onnx.NodeProto, position: int, constants: Mapping[str, onnx.TensorProto]) -> float | None:
    """Return a Clip's lower bound (position 1) or upper bound (2), an attribute before opset 11; None if unknown."""
    name = operand(node, position)
    if not name:
        return attribute(node, "min", -math.inf) if position == 1 else attribute(node, "max", math.inf)
    bound = values_of(constants[name], name) if name in constants else None
    return float(bound.item()) if bound is not None and bound.size == 1 else None


def is_nearest_resize(node: onnx.NodeProto) -> bool:
    """True if a node is a Resize that only selects values of its input."""
    # This mode invents values outside the box.
    invents = attribute(node, "coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    return node.op_type == "Resize" and attribute(node, "mode", "nearest") == "nearest" and not invents


def commutes_with_rounding(node: onnx.NodeProto) -> bool:
    """True if a per-tensor pair gives the same bits on a node's first input as on its outputs.

    Each output value is then a value of the first input, selected by its position or because it is the largest:
    rounding keeps the order of values. These do not commute:

    - Cast: FP16 and integers round values once more, and FP32 rounds quotients differently from FP16.
    - Pad: the value that it adds may not be a multiple of the scale, and an integer 0 stands for a value other than 0.
    - MaxPool with indices: rounding creates ties, which change the indices.
    - Dropout with an input for the training mode, which scales values.
    - Concat, Where, Max and others of several inputs, which commute only if all inputs share one scale.

    GlobalMaxPool and ReduceMax commute as well. They are left out because TensorRT is not known to move pairs over
    them.
    """
    if not is_default_domain(node):
        return False
    if node.op_type == "Dropout":
        return not operand(node, 2)
    if node.op_type == "MaxPool":
        return len(node.output) < 2 or not node.output[1]
    return node.op_type in REARRANGING | PARTING or is_nearest_resize(node)


def parts_a_tensor(node: onnx.NodeProto) -> bool:
    """True if an output may hold only a part of the input, and so may have a smaller range than the input."""
    return is_default_domain(node) and node.op_type in PARTING


def moves_values(node: onnx.NodeProto) -> bool:
    """True if a pair after a node may be moved before it: they commute, and the range stays the same.

    A part of a tensor may have a smaller range, and so needs its own pair.
    """
    return commutes_with_rounding(node) and not parts_a_tensor(node)


def never_negative(graph: Graph) -> set[str]:
    """Return the names of activations that are never negative for any input, such as those after a ReLU or a sigmoid.

    An activation that is not known to be so is left out. Constants of more than LARGEST_KEPT values are not examined.
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
