"""Rules about the values of Q and DQ: scales, zero-points, types, axes. TensorRT's ONNX parser requires most."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto

from quantkit.graph.graph import attribute, label, operand
from quantkit.graph.operators import CONVOLUTIONS, DEQUANTIZE, QUANTIZE, WEIGHTED, weight_output_axis
from quantkit.targets.tensorrt.lint.finding import Finding
from quantkit.targets.tensorrt.lint.view import View

NEWEST_OPSET_OF_8 = 17
FP16_SCALES_OPSET = 19
NEWER_TYPES = {"INT4", "FLOAT8E4M3FN", "FLOAT4E2M1"}


def values(view: View) -> Iterator[Finding]:
    """Yield the findings of all rules of this file."""
    for rule in (_scales, _zero_points, _types, _axes):
        yield from rule(view)
    if view.opset > NEWEST_OPSET_OF_8:
        yield Finding(
            "newer-opset", (), f"The model has opset {view.opset}; TensorRT 8.6 parses up to {NEWEST_OPSET_OF_8}."
        )


def _scales(view: View) -> Iterator[Finding]:
    """Check that every scale is a constant, finite number above zero.

    There is one finding for each scale, because Q and DQ share it.
    """
    users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in view.graph.of_type(QUANTIZE, DEQUANTIZE):
        users[operand(node, 1)].append(node)
    for name, nodes in users.items():
        labels = tuple(map(label, nodes))
        scale = view.array(name)
        if scale is None and name not in view.constants:
            what = f"The scale {name!r} is computed when the model runs; TensorRT wants INT8 scales when it builds."
            yield Finding("scale-not-constant", labels, what)
        elif scale is not None and not (fine := np.isfinite(scale) & (scale > 0)).all():
            wrong = scale[~fine]
            what = f"{len(wrong)} of {scale.size} scales in {name!r} are not finite and above zero: {wrong[0]:g}."
            yield Finding("scale-not-positive", labels, what)
        tensor = view.stored(name)
        half = tensor is not None and tensor.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16)
        if half and view.opset < FP16_SCALES_OPSET:
            what = f"The scale {name!r} is no FP32, which ONNX allows from opset {FP16_SCALES_OPSET}, not {view.opset}."
            yield Finding("half-scale-opset", labels, what)


def _zero_points(view: View) -> Iterator[Finding]:
    """Check that every zero-point is 0, because TensorRT quantizes symmetrically.

    There is one finding for each zero-point.
    """
    users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in view.graph.of_type(QUANTIZE, DEQUANTIZE):
        if operand(node, 2):
            users[operand(node, 2)].append(node)
        elif node.op_type == QUANTIZE and not attribute(node, "output_dtype", 0):
            what = f"{operand(node, 0)!r} has no zero-point, which means UINT8 in ONNX and INT8 in TensorRT."
            yield Finding("no-zero-point", (label(node),), what)
    for name, nodes in users.items():
        numbers = view.array(name)
        if numbers is not None and numbers.any():
            what = f"The zero-point {name!r} is {numbers[numbers != 0][0]:g}; TensorRT does not parse any but 0."
            yield Finding("zero-point-not-zero", tuple(map(label, nodes)), what)


def _types(view: View) -> Iterator[Finding]:
    """Check that quantized values are INT8, or a type that only TensorRT 10 and newer know.

    Biases must not be quantized.
    """
    newer: dict[str, list[str]] = defaultdict(list)
    for node in view.graph.of_type(QUANTIZE, DEQUANTIZE):
        number = view.quantized_type(node)
        maker = view.maker(operand(node, 0))
        if number in (None, TensorProto.INT8) or (node.op_type == DEQUANTIZE and maker and maker.op_type == QUANTIZE):
            continue  # INT8 or unknown, or reported for its QuantizeLinear
        name = TensorProto.DataType.Name(number) if number in TensorProto.DataType.values() else f"type {number}"
        tensor = operand(node, 0)
        if name in NEWER_TYPES:
            newer[name].append(label(node))
        elif number == TensorProto.INT32 and node.op_type == DEQUANTIZE:
            what = f"{tensor!r} is INT32 with a DequantizeLinear, as a bias is; TensorRT does not parse that."
            yield Finding("quantized-bias", (label(node), *(label(user) for user in view.users_of_outputs(node))), what)
        elif operand(node, 2) or attribute(node, "output_dtype", 0) or tensor in view.constants:
            what = f"{tensor!r} is quantized as {name}; TensorRT takes that for INT8, or refuses it."
            yield Finding("type-not-int8", (label(node),), what)
    for name, labels in newer.items():
        yield Finding("newer-type", tuple(labels), f"{name} needs TensorRT 10 or newer, and a GPU that has it.")


def _axes(view: View) -> Iterator[Finding]:
    """Check that activations have one scale, and weights one scale or one for each output channel."""
    for node in view.graph.of_type(QUANTIZE, DEQUANTIZE):
        scale, tensor = view.scale(node), operand(node, 0)
        if scale is None or scale.size <= 1:
            continue
        stored = view.stored(operand(node, 1))
        if attribute(node, "block_size", 0) or (stored is not None and len(stored.dims) > 1):
            what = f"{tensor!r} has a scale for each block of values, for which TensorRT 10 or newer is needed."
            yield Finding("block-quantized", (label(node),), what)
        elif tensor in view.constants:
            yield from _weight_axis(view, node, scale.size)
        elif node.op_type == QUANTIZE or view.maker(tensor) is None:
            what = f"The activation {tensor!r} has {scale.size} scales; TensorRT takes one."
            yield Finding("activation-per-channel", (label(node),), what)


def _weight_axis(view: View, node: onnx.NodeProto, count: int) -> Iterator[Finding]:
    dims = view.dims(operand(node, 0))
    if dims is None:
        return
    axis = attribute(node, "axis", 1)
    axis += len(dims) if axis < 0 else 0
    if not 0 <= axis < len(dims) or dims[axis] != count:
        what = f"The weight {operand(node, 0)!r} of shape {dims} has {count} scales along axis {axis}."
        yield Finding("scale-count", (label(node),), what)
        return
    if node.op_type == QUANTIZE:
        return
    for user in view.consumers(node.output[0]):  # a Transpose between them would move the axis
        if operand(user, 1) != node.output[0] or user.op_type not in WEIGHTED:
            continue
        wanted = weight_output_axis(user, len(dims))
        says = f"The weight of {user.op_type} {label(user)!r} has its scales along axis {axis}"
        if axis != wanted and user.op_type in CONVOLUTIONS:
            what = f"{says}; its output channels are axis {wanted}."
            yield Finding("weight-axis", (label(node), label(user)), what)
        elif axis != wanted:
            what = f"{says}, which is summed over, so that it runs in floating point."
            yield Finding("weight-axis-summed", (label(node), label(user)), what)
