"""Bias correction: a layer's bias compensates the mean error of rounding its weight.

The method is that of Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019),
section 4.2, https://arxiv.org/abs/1906.04721, with input means measured by calibration.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from quantkit.graph.channel_axes import counted_along
from quantkit.graph.graph import Graph, attribute, operand
from quantkit.graph.operators import is_plain_product, weight_output_axis

# The layers to correct, each with the axes of its input that it may sum over.
SUMMED = {"Conv": {1}, "Gemm": {1, -1}, "MatMul": {-1}}

Floats = npt.NDArray[np.float32]
Rounding = Callable[[str, Floats, int], Floats]
"""Rounds a node's weight, given the axis of its output channels; returns what the integers and scales represent."""


def mean_error(
    weight: Floats, rounded: Floats, means: npt.NDArray[np.float64], groups: int = 1
) -> npt.NDArray[np.float64]:
    """Return the change of each output channel's mean if ``rounded`` replaces ``weight``.

    Zeros that a Conv pads with count as ordinary values.

    Args:
        weight: The weight of a Conv, (O, I / groups, ...), or of a transposed Gemm, (O, I).
        rounded: The rounded weight, of the same shape.
        means: E[x] of every input channel, (I,).
        groups: The number of groups of the Conv.

    Returns:
        The change, (O,) float64.
    """
    outputs, inputs = weight.shape[:2]
    error = (rounded.astype(np.float64) - weight).reshape(outputs, inputs, -1).sum(axis=2)
    group = np.repeat(np.arange(groups), outputs // groups)
    result: npt.NDArray[np.float64] = (error * means.reshape(groups, inputs)[group]).sum(axis=1)
    return result


def correct_biases(
    graph: onnx.GraphProto,
    names: Collection[str],
    means: Mapping[str, npt.NDArray[np.float64]],
    rounding: Rounding,
) -> None:
    """Correct the biases of Convs, Gemms and MatMuls whose weights will be rounded.

    A MatMul's bias is the constant of the Add that alone consumes its output. Layers without a constant bias of their
    own are not changed, nor are those that sum over another axis than the one that the calibration counted as channels.

    Args:
        graph: The graph; its initializers are edited.
        names: The names of the nodes to correct.
        means: The mean of every channel by tensor, (C,).
        rounding: Returns a weight as it will be rounded.
    """
    view = Graph(graph)
    along = counted_along(view)
    for node in view.of_type(*SUMMED):
        if node.name not in names or node.input[0] not in means or not along(node.input[0]) <= SUMMED[node.op_type]:
            continue
        mean, weight = means[node.input[0]], view.initializers.get(node.input[1])
        bias = view.initializers.get(_bias_name(view, node))
        if weight is None or bias is None or view.only_consumer(bias.name) is None or not is_plain_product(node):
            continue
        values = numpy_helper.to_array(weight)
        axis = weight_output_axis(node, values.ndim)
        if values.ndim < 2 or (axis and values.ndim != 2):
            continue
        rounded, own = rounding(node.name, values, axis), numpy_helper.to_array(bias)
        if axis:
            values, rounded = values.T, rounded.T
        groups = attribute(node, "group", 1)
        if len(mean) == values.shape[1] * groups and own.shape == values.shape[:1]:
            better = (own - mean_error(values, rounded, mean, groups)).astype(np.float32)
            bias.CopyFrom(numpy_helper.from_array(better, bias.name))


def shift_biases(
    graph: onnx.GraphProto,
    names: Collection[str],
    shifts: Mapping[str, npt.NDArray[np.float64]],
    factors: Mapping[str, npt.NDArray[np.float64]],
) -> None:
    """Subtract numbers from the biases of layers, such as those by which a quantized network's outputs are off.

    Layers without a constant bias of their own are not changed.

    Args:
        graph: The graph; its initializers are edited.
        names: The names of the nodes to change.
        shifts: What to subtract, (C,), by the layer's output before any activation function.
        factors: The factors by which an equalization multiplied the channels of tensors, (C,).
    """
    view = Graph(graph)
    for node in view.of_type(*SUMMED):
        bias = view.initializers.get(_bias_name(view, node))
        shift = shifts.get(biased_output(view, node))
        if node.name not in names or bias is None or shift is None or view.only_consumer(bias.name) is None:
            continue
        own, factor = numpy_helper.to_array(bias), factors.get(biased_output(view, node))
        if own.shape == shift.shape and (factor is None or factor.shape == shift.shape):
            better = own - (shift if factor is None else shift * factor)
            bias.CopyFrom(numpy_helper.from_array(better.astype(np.float32), bias.name))


def biased_output(graph: Graph, node: onnx.NodeProto) -> str:
    """Return the output of a layer behind its bias, which a MatMul has in the Add that alone consumes its output."""
    if node.op_type == "MatMul" and _bias_name(graph, node):
        return str(graph.consumers(node.output[0])[0].node.output[0])
    return str(node.output[0])


def _bias_name(graph: Graph, node: onnx.NodeProto) -> str:
    if node.op_type != "MatMul":
        return operand(node, 2)
    users = graph.consumers(node.output[0])
    if len(users) != 1 or users[0].node.op_type != "Add":
        return ""
    return next((name for name in users[0].node.input if name in graph.initializers), "")
