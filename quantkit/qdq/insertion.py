"""Inserts Q/DQ pairs and quantized weights into a graph according to a placement."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from quantkit.core.ranges import LEVELS
from quantkit.graph.graph import drop_unused_constants
from quantkit.graph.operators import DEQUANTIZE, QUANTIZE
from quantkit.qdq.metadata import dequantized_name, quantized_name, scale_name, zero_point_name
from quantkit.qdq.placement import SMALLEST_SCALE, Placement

Scheme = Callable[[str], tuple[np.float32, np.int8 | np.uint8]]
"""Returns the scale (> 0) and the zero-point of an activation's pair, given the activation's name."""


def rounded_weight(
    weight: npt.NDArray[np.float32], axis: int, levels: int = LEVELS
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Round a weight to s8.

    Args:
        weight: The weight.
        axis: The axis of its output channels.
        levels: The largest magnitude of an integer.

    Returns:
        The integers, in the weight's shape, and the scale of each channel along ``axis``, (C,).
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.maximum(np.abs(weight).max(axis=others) / levels, SMALLEST_SCALE).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    return np.clip(np.rint(weight / scale.reshape(shape)), -levels, levels).astype(np.int8), scale


def as_rounded(weight: npt.NDArray[np.float32], axis: int, levels: int = LEVELS) -> npt.NDArray[np.float32]:
    """Return the values that the rounded weight represents, in the same shape; for arguments see ``rounded_weight``."""
    values, scale = rounded_weight(weight, axis, levels)
    return values * scale.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])


def insert_pairs(graph: onnx.GraphProto, placement: Placement, scheme: Scheme, levels: int = LEVELS) -> None:
    """Insert the pairs and quantized weights of a placement; nodes stay in topological order.

    Args:
        graph: The graph that the placement was made for; it is edited.
        placement: The placement.
        scheme: Returns the scale and zero-point of each activation.
        levels: The largest magnitude of a weight's integers.
    """
    pairs: dict[str, list[onnx.NodeProto]] = {}
    for name in sorted({tensor for tensor, _, _ in placement.edges}):
        pairs[name] = _activation_pair(graph, name, *scheme(name))
    dequantized = []
    for name, axis in placement.weights.items():
        weight = numpy_helper.to_array(placement.graph.initializers[name])
        dequantized.append(_quantized_weight(graph, name, weight, axis, levels))
    positions = {(node, position): tensor for tensor, node, position in placement.edges}
    ordered = dequantized + [n for v in graph.input for n in pairs.get(v.name, [])]
    for node in graph.node:
        for position, name in enumerate(node.input):
            if (node.name, position) in positions or (position == 1 and node.name in placement.with_weight):
                node.input[position] = dequantized_name(name)
        ordered.append(node)
        ordered += [pair for name in node.output for pair in pairs.get(name, [])]
    del graph.node[:]
    graph.node.extend(ordered)
    drop_unused_constants(graph)


def _activation_pair(
    graph: onnx.GraphProto, name: str, scale: np.float32, zero_point: np.int8 | np.uint8
) -> list[onnx.NodeProto]:
    constants = [scale_name(name), zero_point_name(name)]
    graph.initializer.append(numpy_helper.from_array(np.array(scale, np.float32), constants[0]))
    graph.initializer.append(numpy_helper.from_array(np.array(zero_point), constants[1]))
    between, behind = quantized_name(name), dequantized_name(name)
    return [
        helper.make_node(QUANTIZE, [name, *constants], [between], name=f"{name}_{QUANTIZE}"),
        helper.make_node(DEQUANTIZE, [between, *constants], [behind], name=f"{name}_{DEQUANTIZE}"),
    ]


def _quantized_weight(
    graph: onnx.GraphProto, name: str, weight: npt.NDArray[np.float32], axis: int, levels: int
) -> onnx.NodeProto:
    values, scale = rounded_weight(weight, axis, levels)
    constants = [quantized_name(name), scale_name(name), zero_point_name(name)]
    for array, own in zip((values, scale, np.zeros(len(scale), np.int8)), constants, strict=True):
        graph.initializer.append(numpy_helper.from_array(array, own))
    return helper.make_node(DEQUANTIZE, constants, [dequantized_name(name)], name=f"{name}_{DEQUANTIZE}", axis=axis)
