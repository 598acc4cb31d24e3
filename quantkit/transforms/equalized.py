"""The floating-point model that every Q/DQ dialect starts from: prepared, with equalized channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.graph.channel_axes import channel_axes
from quantkit.graph.fused import with_fused
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile
from quantkit.transforms.equalization import equalize
from quantkit.transforms.prepare import ensure_names, prepared


@dataclass(frozen=True, eq=False)
class Equalized:
    """A prepared and equalized model.

    Attributes:
        proto: The model.
        ranges: The ranges by tensor, including those of fused tensors.
        factors: The factors of equalized tensors, (C,) float64. Such a tensor holds the values of the user's model
            times the factors of its channels.
    """

    proto: onnx.ModelProto
    ranges: dict[str, TensorRange]
    factors: dict[str, npt.NDArray[np.float64]]


def equalized(
    model: ModelFile,
    ranges: Mapping[str, TensorRange],
    channels: Mapping[str, ChannelStatistics] | None,
    symmetric: bool = False,
    sums: bool = False,
) -> Equalized:
    """Prepare and equalize a copy of a model.

    Args:
        model: The user's model.
        ranges: The ranges by tensor.
        channels: The statistics of every tensor's channels; None skips the equalization.
        sums: True to equalize sums of Convs, too.
        symmetric: True lets a channel grow up to amax on both sides of zero, as TensorRT's scheme does, and equalizes
            products with one number, too.

    Returns:
        The copy, with a name for every node.

    Raises:
        TargetRefuses: The model cannot be prepared for Q/DQ.
    """
    proto = prepared(model)
    ensure_names(proto.graph)
    whole = with_fused(Graph(proto.graph), ranges)
    if symmetric:
        room = {name: TensorRange(r.amax, -r.amax, r.amax) for name, r in whole.items()}
        factors = equalize(proto.graph, room, channels or {}, sums, products=True)
        wider = {name: TensorRange(r.amax, whole[name].low, whole[name].high) for name, r in room.items()}
        return Equalized(proto, wider, factors)
    return Equalized(proto, whole, equalize(proto.graph, whole, channels or {}, sums))


class Undo:
    """Converts the values of equalized tensors back to those that the user's model computes."""

    def __init__(self, graph: onnx.GraphProto, factors: Mapping[str, npt.NDArray[np.float64]]) -> None:
        axes = channel_axes(Graph(graph))
        self._factors = {name: (own.astype(np.float32), axes.get(name, 1)) for name, own in factors.items()}

    def __call__(self, name: str, values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Return ``values`` of the tensor ``name``, divided by the factors of its channels if it has any."""
        if name not in self._factors:
            return values
        factors, axis = self._factors[name]
        shape = [-1 if i == axis % values.ndim else 1 for i in range(values.ndim)]
        undone: npt.NDArray[np.floating] = values / factors.reshape(shape)
        return undone
