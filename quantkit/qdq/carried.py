"""Carries the integers of weights from one Q/DQ model to another, as after quantization-aware training.

Training learns integers together with their scales; rounding the weights anew would lose that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from quantkit.core.ranges import LEVELS
from quantkit.graph.graph import Graph, attribute, label, operand
from quantkit.graph.model_file import external_file_of, read_graph
from quantkit.graph.operators import DEQUANTIZE, QUANTIZE, WEIGHTED, weight_output_axis

CERTAIN = 5  # standard deviations


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """A layer's weight as a Q/DQ model has it: s8 with zero-points of 0.

    Attributes:
        integers: The integers, in the weight's shape.
        scale: The scale of each output channel, (C,).
        axis: The axis of the output channels.
    """

    integers: npt.NDArray[np.int8]
    scale: npt.NDArray[np.float64]
    axis: int

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """What the integers and their scales represent."""
        return self.integers * self.along(self.scale)

    def along(self, channels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return one number for each output channel in a shape that multiplies the weight."""
        return channels.reshape([-1 if i == self.axis else 1 for i in range(self.integers.ndim)])


def quantized_weights(path: Path) -> dict[str, QuantizedWeight]:
    """Read the weights of a Q/DQ model that are s8 with zero-points of 0, by the name of their layer.

    The integers are initializers, or a QuantizeLinear makes them of a floating-point weight.

    Args:
        path: The file.

    Raises:
        BadModel: It cannot be read.
    """
    proto = read_graph(path)
    view = Graph(proto.graph)
    found = {}
    for node in view.of_type(*WEIGHTED):
        own = _weight_of(view, node, path.parent)
        if own is not None:
            found[label(node)] = own
    return found


def carry_weights(proto: onnx.ModelProto, weights: Mapping[str, QuantizedWeight]) -> list[str]:
    """Put integers and scales of another model in place of those of the same layers; a BatchNorm may be folded here.

    A weight is the same if it differs by a factor for each channel and by rounding alone.

    Args:
        proto: A Q/DQ model whose quantized weights are initializers; it is edited.
        weights: The other model's weights, by layer.

    Returns:
        The layers whose weights stay as they are, because the other model's are not the same.
    """
    view, others = Graph(proto.graph), []
    for node in view.of_type(*WEIGHTED):
        dequantize = view.producer(operand(node, 1))
        if label(node) not in weights or dequantize is None or dequantize.op_type != DEQUANTIZE:
            continue
        held = _weight_of(view, node, None)
        fitted = None if held is None else _fitted(weights[label(node)], held)
        if fitted is None:
            others.append(label(node))
            continue
        for name, values in zip(dequantize.input, (fitted.integers, fitted.scale.astype(np.float32)), strict=False):
            tensor = view.initializers[name]
            tensor.CopyFrom(numpy_helper.from_array(values, name))
    return others


def _fitted(given: QuantizedWeight, held: QuantizedWeight) -> QuantizedWeight | None:
    """Return the given weight times a factor for each channel, so that it is the held one; None if none makes it so."""
    if given.integers.shape != held.integers.shape or given.axis != held.axis:
        return None
    axes = tuple(i for i in range(given.integers.ndim) if i != given.axis)
    inside = np.abs(given.integers.astype(np.int16)) < LEVELS  # what is cut off at the end of the range says nothing
    if not inside.any():
        return None
    own, other = given.values * inside, held.values * inside
    power = (own * own).sum(axis=axes)
    factor = np.divide((own * other).sum(axis=axes), power, out=np.ones_like(power), where=power > 0)
    if not factor.all():
        return None
    steps = given.along(held.scale + np.abs(factor) * given.scale)  # half a step of each, and the factor's own error
    if (np.abs(other - own * given.along(factor)) > steps).any():
        return None
    # Both are rounded, by half a step at most: a factor that this explains is 1.
    noise = np.sqrt((given.scale**2 + held.scale**2) / 12 / np.maximum(power, np.finfo(np.float64).tiny))
    factor = np.where(np.abs(factor - 1) < CERTAIN * noise, 1.0, factor)
    integers = (given.integers * np.sign(given.along(factor))).astype(np.int8)
    return QuantizedWeight(integers, given.scale * np.abs(factor), given.axis)


def _weight_of(view: Graph, node: onnx.NodeProto, folder: Path | None) -> QuantizedWeight | None:
    """Return the weight of a layer; None if it is not s8 with zero-points of 0, or not constant."""
    dequantize = view.producer(operand(node, 1))
    if dequantize is None or dequantize.op_type != DEQUANTIZE:
        return None
    quantize = view.producer(operand(dequantize, 0))
    source = operand(dequantize if quantize is None else quantize, 0)
    names = source, operand(dequantize, 1), operand(dequantize, 2)
    values, scale, zero = (_array(view, name, folder) for name in names)
    if values is None or scale is None or (zero is not None and zero.any()) or values.ndim < len(("input", "output")):
        return None
    axis = weight_output_axis(node, values.ndim)
    stated = attribute(dequantize, "axis", 1)
    if scale.size not in (1, values.shape[axis]) or (scale.size > 1 and stated % values.ndim != axis):
        return None
    channels = np.broadcast_to(scale.astype(np.float64).reshape(-1), (values.shape[axis],))
    made = QuantizedWeight(np.zeros(values.shape, np.int8), channels, axis)
    if quantize is not None:
        if quantize.op_type != QUANTIZE or values.dtype.kind != "f" or not (channels > 0).all():
            return None
        values = np.clip(np.rint(values / made.along(channels)), -LEVELS - 1, LEVELS).astype(np.int8)
    return QuantizedWeight(values, channels, axis) if values.dtype == np.int8 else None


def _array(view: Graph, name: str, folder: Path | None) -> npt.NDArray[Any] | None:
    tensor = view.constants.get(name)
    if tensor is None:
        return None
    if uses_external_data(tensor):
        if folder is None:
            return None
        external_file_of(tensor, folder)  # refuses files outside the folder
        load_external_data_for_tensor(tensor, str(folder))
    values: npt.NDArray[Any] = numpy_helper.to_array(tensor)
    return values
