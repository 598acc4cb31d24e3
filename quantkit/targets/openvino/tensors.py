"""Maps OpenVINO outputs to tensors of the ONNX model and to their calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.ranges import TensorRange
from quantkit.core.recipe import Recipe
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.core.wildcards import matches
from quantkit.graph.graph import Graph

SMOOTHED = "/nncf_smooth_quant"  # the suffix of the Multiply that SmoothQuant inserts
# OpenVINO's operators whose output values are all values of the first input, so that no range is wider after them.
REARRANGING = {
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Gather", "Slice", "StridedSlice", "Split", "VariadicSplit", "Tile",
    "Broadcast", "MaxPool", "ReduceMax", "DepthToSpace", "SpaceToDepth", "ShuffleChannels", "ReverseSequence",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Known:
    """The calibration of one OpenVINO output.

    Attributes:
        range: The range.
        tensors: The names of the calibrated tensors that it comes from.
        minimum: The minimum of every channel, (C,); None if channels were not counted or have been rearranged.
        maximum: The maximum of every channel, likewise.
        mean: The mean of every channel, likewise.
        derived: True if the range is not a tensor's calibrated range but follows from the extremes of its channels.
    """

    range: TensorRange
    tensors: tuple[str, ...]
    minimum: npt.NDArray[np.float64] | None = None
    maximum: npt.NDArray[np.float64] | None = None
    mean: npt.NDArray[np.float64] | None = None
    derived: bool = False


def known_of(output: Any, recipe: Recipe, ranges: Mapping[str, TensorRange]) -> Known | None:
    """Return the calibration of an ``openvino.Output``.

    OpenVINO's ONNX frontend keeps the names of tensors. Operators that it decomposes have unnamed tensors inside.

    Args:
        output: The output.
        recipe: The recipe, for the statistics of channels.
        ranges: The ranges by tensor.

    Returns:
        The calibration; None if it is unknown, so that nothing is guessed.
    """
    while True:
        for name in sorted(output.get_names()):
            if name in ranges:
                channels = recipe.channels.get(name)
                if channels is None or not len(channels.total):
                    return Known(ranges[name], (name,))
                return Known(ranges[name], (name,), *_extremes(channels), channels.mean)
        node = output.get_node()
        if node.get_friendly_name().endswith(SMOOTHED):
            return _smoothed(node, recipe, ranges)
        if node.get_type_name() not in REARRANGING:
            return None
        source = known_of(node.input_value(0), recipe, ranges)
        return None if source is None else replace(source, minimum=None, maximum=None, mean=None)


def excluded_operations(model: Any, graph: Graph, exclude: Mapping[str, str]) -> dict[str, str]:
    """Return the operations of an ``openvino.Model`` that excluded ONNX nodes became.

    These are the operations between a node's inputs and its outputs.

    Args:
        model: The ``openvino.Model``.
        graph: The graph that it was made from.
        exclude: The reasons by wildcard, which matches the names of ONNX nodes or their outputs.

    Returns:
        The reasons by friendly name.
    """
    tensors = {name for node in graph.nodes for name in node.output} | set(graph.inputs)
    outputs = {name: out for op in model.get_ops() for out in op.outputs() for name in out.get_names()}
    found: dict[str, str] = {}
    for node in graph.nodes:
        pattern = next((p for p in exclude for n in (node.name, *node.output) if matches(n, [p])), None)
        if pattern is None:
            continue
        own = set(node.output)
        waiting = [outputs[name].get_node() for name in node.output if name in outputs]
        while waiting:
            operation = waiting.pop()
            name = operation.get_friendly_name()
            if name in found or operation.get_type_name() in ("Constant", "Parameter", "FakeQuantize"):
                continue
            found[name] = exclude[pattern]
            for source in operation.input_values():
                if not (set(source.get_names()) - own) & tensors:
                    waiting.append(source.get_node())
    return found


def _extremes(channels: ChannelStatistics) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return channels.minimum.astype(np.float64), channels.maximum.astype(np.float64)


def _smoothed(node: Any, recipe: Recipe, ranges: Mapping[str, TensorRange]) -> Known | None:
    """Return the calibration after SmoothQuant, which multiplies each channel by a constant.

    The histogram counts all channels together, so the range of the smoothed tensor is that of the channels' extremes.
    """
    source = known_of(node.input_value(0), recipe, ranges)
    scale = _constant(node.input_value(1))
    if source is None or scale is None or source.minimum is None or source.maximum is None or source.mean is None:
        return None
    factors = scale.reshape(-1).astype(np.float64)
    if factors.size != source.mean.size:
        return None
    ends = np.stack([source.minimum * factors, source.maximum * factors])
    low, high = ends.min(axis=0), ends.max(axis=0)
    if float(low.min()) >= 0 >= float(high.max()):
        return None  # all values are zero, so there is no scale
    spread = TensorRange.asymmetric(float(low.min()), float(high.max()))
    return Known(spread, source.tensors, low, high, source.mean * factors, derived=True)


def _constant(output: Any) -> npt.NDArray[Any] | None:
    node = output.get_node()
    while node.get_type_name() in ("Convert", "Reshape") and node.get_input_size():
        node = node.input_value(0).get_node()
    return np.asarray(node.data) if node.get_type_name() == "Constant" else None
