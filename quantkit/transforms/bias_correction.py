"""Bias correction: a layer's bias takes up the mean error that rounding its weight makes.

After Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019), section 4.2,
https://arxiv.org/abs/1906.04721, with the inputs' means as calibration measured them.
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

# Layers that are corrected, each with the axes of its input that it may add up.
SUMMED = {"Conv": {1}, "Gemm": {1, -1}, "MatMul": {-1}}

Floats = npt.NDArray[np.float32]
Rounding = Callable[[Floats, int], Floats]
"""From a weight and the axis of its output channels to the values that its integers and scales stand for."""


def mean_error(
    weight: Floats, rounded: Floats, means: npt.NDArray[np.float64], groups: int = 1
) -> npt.NDArray[np.float64]:
    """What ``rounded`` adds to each output channel's mean in place of ``weight``: float64 of shape (O,).

    ``weight`` and ``rounded`` are a Conv's, of shape (O, I / groups, ...), or a transposed Gemm's, (O, I); ``means`` of
    shape (I,) is E[x] of every input channel. Zeros that a Conv pads with count as ordinary values.
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
    """Correct the biases of the Convs, Gemms and MatMuls called ``names``, whose weights will be rounded.

    ``means`` holds the mean of every channel by tensor, float64 of shape (C,). A MatMul's bias is the constant that
    the one Add behind it adds. Layers without a constant bias of their own are left as they are, and so are those that
    add up another axis than the one that the calibration counted as channels.
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
        rounded, own = rounding(values, axis), numpy_helper.to_array(bias)
        if axis:
            values, rounded = values.T, rounded.T
        groups = attribute(node, "group", 1)
        if len(mean) == values.shape[1] * groups and own.shape == values.shape[:1]:
            better = (own - mean_error(values, rounded, mean, groups)).astype(np.float32)
            bias.CopyFrom(numpy_helper.from_array(better, bias.name))


def _bias_name(graph: Graph, node: onnx.NodeProto) -> str:
    if node.op_type != "MatMul":
        return operand(node, 2)
    users = graph.consumers(node.output[0])
    if len(users) != 1 or users[0].node.op_type != "Add":
        return ""
    return next((name for name in users[0].node.input if name in graph.initializers), "")
