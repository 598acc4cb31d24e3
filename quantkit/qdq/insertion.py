"""Quantized weights and Q/DQ pairs, put into a graph where a placement says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from quantkit.graph.uses import drop_unused_constants
from quantkit.qdq.placement import SMALLEST_SCALE, Placement

WEIGHT_LEVELS = 127
Scheme = Callable[[str], tuple[np.float32, np.int8 | np.uint8]]
"""An activation's name in; the scale (> 0) and the zero-point of its pair out."""


def rounded_weight(
    weight: npt.NDArray[np.float32], axis: int, levels: int = WEIGHT_LEVELS
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """A weight in s8, ``levels`` on either side of zero, and its scales, one for each channel along ``axis``."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.maximum(np.abs(weight).max(axis=others) / levels, SMALLEST_SCALE).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    return np.clip(np.rint(weight / scale.reshape(shape)), -levels, levels).astype(np.int8), scale


def as_rounded(weight: npt.NDArray[np.float32], axis: int, levels: int = WEIGHT_LEVELS) -> npt.NDArray[np.float32]:
    """What the rounded weight stands for, float32 of the same shape."""
    values, scale = rounded_weight(weight, axis, levels)
    return values * scale.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])


def dequantized_name(name: str) -> str:
    """How a tensor is called behind its pair, or a weight behind its DequantizeLinear."""
    return f"{name}_dequantized"


def insert_pairs(placement: Placement, scheme: Scheme, levels: int = WEIGHT_LEVELS) -> None:
    """Insert the pairs and quantize the weights; nodes stay in topological order."""
    pairs: dict[str, list[onnx.NodeProto]] = {}
    for name in sorted({tensor for tensor, _, _ in placement.edges}):
        pairs[name] = _activation_pair(placement, name, *scheme(name))
    dequantized = [_quantized_weight(placement, name, axis, levels) for name, axis in placement.weights.items()]
    positions = {(node, position): tensor for tensor, node, position in placement.edges}
    ordered = dequantized + [n for v in placement.graph.input for n in pairs.get(v.name, [])]
    for node in placement.graph.node:
        for position, name in enumerate(node.input):
            if (node.name, position) in positions or (position == 1 and node.name in placement.with_weight):
                node.input[position] = dequantized_name(name)
        ordered.append(node)
        ordered += [pair for name in node.output for pair in pairs.get(name, [])]
    del placement.graph.node[:]
    placement.graph.node.extend(ordered)
    drop_unused_constants(placement.graph)


def _activation_pair(
    placement: Placement, name: str, scale: np.float32, zero_point: np.int8 | np.uint8
) -> list[onnx.NodeProto]:
    placement.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(scale, np.float32), f"{name}_scale"),
            numpy_helper.from_array(np.array(zero_point), f"{name}_zero_point"),
        ]
    )
    constants = [f"{name}_scale", f"{name}_zero_point"]
    quantize = helper.make_node(
        "QuantizeLinear", [name, *constants], [f"{name}_quantized"], name=f"{name}_QuantizeLinear"
    )
    dequantize = helper.make_node(
        "DequantizeLinear",
        [f"{name}_quantized", *constants],
        [dequantized_name(name)],
        name=f"{name}_DequantizeLinear",
    )
    return [quantize, dequantize]


def _quantized_weight(placement: Placement, name: str, axis: int, levels: int) -> onnx.NodeProto:
    values, scale = rounded_weight(numpy_helper.to_array(placement.initializers[name]), axis, levels)
    placement.graph.initializer.extend(
        [
            numpy_helper.from_array(values, f"{name}_quantized"),
            numpy_helper.from_array(scale, f"{name}_scale"),
            numpy_helper.from_array(np.zeros(len(scale), np.int8), f"{name}_zero_point"),
        ]
    )
    return helper.make_node(
        "DequantizeLinear",
        [f"{name}_quantized", f"{name}_scale", f"{name}_zero_point"],
        [dequantized_name(name)],
        name=f"{name}_DequantizeLinear",
        axis=axis,
    )
