"""Bias correction: a layer's bias takes up the mean error that rounding its weight makes.

After Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019), section 4.2,
https://arxiv.org/abs/1906.04721, with the inputs' means as calibration measured them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from quantkit.graph.channel_axes import counted_along

Floats = npt.NDArray[np.float32]
Rounding = Callable[[Floats, int], Floats]
"""A weight and its output channels' axis in; what its integers and scales stand for out."""


def mean_error(
    weight: Floats, rounded: Floats, means: npt.NDArray[np.float64], groups: int = 1
) -> npt.NDArray[np.float64]:
    """What ``rounded`` adds to each output channel's mean in place of ``weight``: float64 of shape (O,).

    ``weight`` and ``rounded`` are a Conv's, of shape (O, I / groups, ...), or a transposed Gemm's, (O, I); ``means`` of
    shape (I,) is E[x] of every input channel. Zeros that a Conv pads with are taken for ordinary values.
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
    constants = {tensor.name: tensor for tensor in graph.initializer}
    takers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            takers[name].append(node)
    along = counted_along(graph)
    for node in graph.node:
        if node.name not in names or node.input[0] not in means:
            continue
        summed = {1} if node.op_type == "Conv" else {-1} if node.op_type == "MatMul" else {1, -1}  # a Gemm's has two
        if not along(node.input[0]) <= summed:
            continue
        mean, weight = means[node.input[0]], constants.get(node.input[1])
        axis = _output_axis(node)
        bias = constants.get(_bias_name(node, takers, constants))
        if weight is None or axis is None or bias is None or len(takers[bias.name]) != 1:
            continue
        values = numpy_helper.to_array(weight)
        if axis and values.ndim != 2:
            continue
        rounded, own = rounding(values, axis), numpy_helper.to_array(bias)
        if axis:
            values, rounded = values.T, rounded.T
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        if len(mean) == values.shape[1] * groups and own.shape == values.shape[:1]:
            better = (own - mean_error(values, rounded, mean, groups)).astype(np.float32)
            bias.CopyFrom(numpy_helper.from_array(better, bias.name))


def _output_axis(node: onnx.NodeProto) -> int | None:
    """The axis of the weight that counts output channels; None for a node whose bias cannot be corrected."""
    if node.op_type in ("Conv", "MatMul"):
        return 0 if node.op_type == "Conv" else 1
    attributes = {a.name: a for a in node.attribute}
    factors = [attributes[name].f for name in ("alpha", "beta") if name in attributes]
    if node.op_type != "Gemm" or any(factor != 1 for factor in factors):
        return None
    if "transA" in attributes and attributes["transA"].i:
        return None
    return 0 if "transB" in attributes and attributes["transB"].i else 1


def _bias_name(
    node: onnx.NodeProto, takers: Mapping[str, list[onnx.NodeProto]], constants: Mapping[str, onnx.TensorProto]
) -> str:
    if node.op_type != "MatMul":
        return node.input[2] if len(node.input) > 2 else ""
    users = takers.get(node.output[0], [])
    if len(users) != 1 or users[0].op_type != "Add":
        return ""
    return next((name for name in users[0].input if name in constants), "")
