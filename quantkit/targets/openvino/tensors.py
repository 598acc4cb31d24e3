"""Which tensor of the ONNX model an OpenVINO output is, and what the calibration knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.ranges import TensorRange
from quantkit.core.recipe import Recipe
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.graph.graph import Graph

SMOOTHED = "/nncf_smooth_quant"  # how the Multiply that SmoothQuant inserts is called
# OpenVINO's operators whose output values are all values of the first input: no range can be wider after them.
REARRANGING = {
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Gather", "Slice", "StridedSlice", "Split", "VariadicSplit", "Tile",
    "Broadcast", "MaxPool", "ReduceMax", "DepthToSpace", "SpaceToDepth", "ShuffleChannels", "ReverseSequence",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Known:
    """What the calibration knows of one output.

    ``tensors`` names the calibrated tensors behind it. ``minimum``, ``maximum`` and ``mean`` are those of its channels,
    float64 of shape (C,); None where channels were not counted or have been rearranged. ``derived`` says that the range
    is not the calibrated one of a tensor but follows from its channels' extremes.
    """

    range: TensorRange
    tensors: tuple[str, ...]
    minimum: npt.NDArray[np.float64] | None = None
    maximum: npt.NDArray[np.float64] | None = None
    mean: npt.NDArray[np.float64] | None = None
    derived: bool = False


def known_of(output: Any, recipe: Recipe, ranges: Mapping[str, TensorRange]) -> Known | None:
    """What ``recipe`` knows of an ``openvino.Output``; None when nothing, so that nothing is guessed.

    OpenVINO's ONNX frontend keeps the names of tensors; operators that it takes apart have unnamed tensors inside.
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
    """Friendly names of the operations of an ``openvino.Model`` that excluded ONNX nodes became, with the reason.

    ``exclude`` maps wildcards, which name ONNX nodes or their outputs, to reasons. The operations are those between a
    node's inputs and its outputs.
    """
    tensors = {name for node in graph.nodes for name in node.output} | set(graph.inputs)
    outputs = {name: out for op in model.get_ops() for out in op.outputs() for name in out.get_names()}
    found: dict[str, str] = {}
    for node in graph.nodes:
        pattern = next((p for p in exclude for n in (node.name, *node.output) if fnmatchcase(n, p)), None)
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
    """SmoothQuant divides each channel by a constant: its extremes and mean are divided, too.

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
        return None  # zero throughout: there is no scale to tell
    spread = TensorRange.asymmetric(float(low.min()), float(high.max()))
    return Known(spread, source.tensors, low, high, source.mean * factors, derived=True)


def _constant(output: Any) -> npt.NDArray[Any] | None:
    node = output.get_node()
    while node.get_type_name() in ("Convert", "Reshape") and node.get_input_size():
        node = node.input_value(0).get_node()
    return np.asarray(node.data) if node.get_type_name() == "Constant" else None
