"""Equalization: channels that use little of their tensor's range are scaled up into it, and their weights down.

A tensor has one scale for all its channels, so that the largest channel decides how finely all are rounded. Where a
factor per channel can be moved from a tensor's producer into its takers' weights, the model computes the same and every
channel is rounded finely. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction"
(2019), https://arxiv.org/abs/1906.04721, section 4.1; for LayerNormalization Xiao et al., "SmoothQuant" (2022),
https://arxiv.org/abs/2211.10438. Unlike there, channels are only scaled up, within the range that the tensor has, so
that the ranges of the calibration stay true.

Only where a channel's extremes are known well: after a LayerNormalization, and between the bounds of a Clip, once
enough images were counted. Elsewhere a rare large value would be cut off (ResNet-50 loses 2.5 dB by it). A Clip cuts
what goes beyond the largest value that was counted: MobileNetV2 keeps 50 dB so on 100 images, on 8 only 21.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.channels import ChannelStatistics

# What these put out has their input's channels, each multiplied by the same factor; pools only those along axis 1.
PASSING = {"Dropout", "Identity"}
POOLS = {"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"}
FEWEST_CLIPPED, FEWEST_NORMALIZED = 100, 16  # images
SHAPE_ONLY = {"Shape", "Size"}  # they do not look at values
LARGEST_FACTOR = 64.0
POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the factors that fill the range; 0 leaves the tensor as it is
CAPS = (1.5, 2.0, 4.0, 8.0)
GAIN = 0.999  # of the error; less is not worth changing a weight
SPREAD = 8.0  # (maximum - minimum) / standard deviation of a channel, about that of a Gaussian's 10,000 values
ACTIVATION_STEPS, WEIGHT_STEPS = 255, 127

Floats = npt.NDArray[np.float64]


@dataclass
class _Site:
    """A tensor, its weighted takers, and what lies between: ``tensors`` are all that carry its factors."""

    tensors: list[str]
    takers: list[onnx.NodeProto]
    producer: list[tuple[onnx.NodeProto, int]]  # constants that take up the factors: (node, input position)
    start: str  # the tensor whose channels must stay in its range
    highest: float = np.inf  # a Clip's upper bound

    @property
    def clipped(self) -> bool:
        """True if it is a Clip's, with the channels along axis 1; a LayerNormalization's lie along the last."""
        return self.highest < np.inf


def equalize(
    graph: onnx.GraphProto, ranges: Mapping[str, TensorRange], channels: Mapping[str, ChannelStatistics]
) -> dict[str, Floats]:
    """Edit the graph, whose weights are initializers; return each changed tensor's factors: float64 (C,), >= 1.

    A tensor named there now holds its former values times the factors of its channels. ``ranges`` hold for both.
    """
    edit = _Edit(graph)
    factors: dict[str, Floats] = {}
    for site in edit.sites():
        chosen = _factors(edit, site, ranges, channels)
        if chosen is not None:
            edit.apply(site, chosen)
            factors.update(dict.fromkeys(site.tensors, chosen))
    used = {name for node in graph.node for name in node.input} | edit.outputs
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    if factors:
        del graph.initializer[:]
        graph.initializer.extend(kept)
    return factors


def means_after(channels: Mapping[str, ChannelStatistics], factors: Mapping[str, Floats]) -> dict[str, Floats]:
    """The mean of every channel by tensor, float64 of shape (C,), once the graph is equalized by ``factors``."""
    return {name: own.mean * factors[name] if name in factors else own.mean for name, own in channels.items()}


def _factors(
    edit: _Edit, site: _Site, ranges: Mapping[str, TensorRange], channels: Mapping[str, ChannelStatistics]
) -> Floats | None:
    """The factors with the least expected error of what the takers put out; None for none."""
    measured = list(dict.fromkeys([site.start, *(node.input[0] for node in site.takers)]))
    if not all(name in channels and name in ranges for name in measured):
        return None
    fewest = FEWEST_CLIPPED if site.clipped else FEWEST_NORMALIZED
    counts = {len(channels[name].minimum) for name in measured}
    counts |= {edit.constants[node.input[position]].dims[0] for node, position in site.producer}
    if len(counts) != 1 or 0 in counts or min(channels[name].samples for name in measured) < fewest:
        return None
    room = np.full(counts.pop(), LARGEST_FACTOR)
    for name in measured:
        room = np.minimum(room, _room(channels[name].maximum, min(ranges[name].high, site.highest)))
        room = np.minimum(room, _room(-channels[name].minimum, -ranges[name].low))
    full = np.maximum(room, 1.0)
    terms = [term for node in site.takers if (term := _Term.of(edit, node, ranges, channels)) is not None]
    if len(terms) != len(site.takers):
        return None
    candidates = [full**power for power in POWERS] + [np.minimum(full, cap) for cap in CAPS]
    errors = [sum(term.error(candidate) for term in terms) for candidate in candidates]
    best = int(np.argmin(errors))
    return candidates[best] if errors[best] < GAIN * errors[0] else None


def _room(largest: npt.NDArray[np.float32], bound: float) -> Floats:
    """How much each channel can grow before it meets ``bound``; a side without values does not count."""
    used = np.maximum(largest.astype(np.float64), 0.0)
    side = used > 1e-6 * max(float(used.max(initial=0.0)), 1e-30)
    room: Floats = np.where(side, bound / np.where(side, used, 1.0), np.inf)
    return room


@dataclass
class _Term:
    """One taker's expected error, from its weight and its input's statistics.

    ``energy`` and ``peak`` are Σ w² and max|w| over the taps of each (output, input / groups), ``square`` is E[x²] of
    each input channel, estimated, ``step`` the input's.
    """

    energy: npt.NDArray[np.float32]
    peak: npt.NDArray[np.float32]
    taps: int
    groups: int
    square: Floats
    step: float

    @classmethod
    def of(
        cls,
        edit: _Edit,
        node: onnx.NodeProto,
        ranges: Mapping[str, TensorRange],
        channels: Mapping[str, ChannelStatistics],
    ) -> _Term | None:
        weight = edit.weight(node)
        own, taken = channels[node.input[0]], ranges[node.input[0]]
        groups = edit.attribute(node, "group", 1)
        if weight is None or weight.shape[1] * groups != len(own.minimum) or weight.shape[0] % groups:
            return None
        spread = (own.maximum.astype(np.float64) - own.minimum) / SPREAD
        square = own.mean**2 + spread**2
        energy, peak = np.einsum("oit,oit->oi", weight, weight), np.abs(weight).max(axis=2)
        return cls(energy, peak, weight.shape[2], groups, square, (taken.high - taken.low) / ACTIVATION_STEPS)

    def _of_outputs(self, per_channel: Floats) -> npt.NDArray[np.float32]:
        """(O, I / groups), or (1, I): the value of each input channel that an output channel takes."""
        split = per_channel.astype(np.float32).reshape(self.groups, -1)
        return split if self.groups == 1 else np.repeat(split, len(self.energy) // self.groups, axis=0)

    def error(self, factors: Floats) -> float:
        """Of rounding the input and the weight, relative to what the layer puts out."""
        factor, square = self._of_outputs(factors), self._of_outputs(self.square)
        of_input = self.step**2 / 12 * float((self.energy / factor**2).sum(dtype=np.float64))
        steps = (self.peak / factor).max(axis=1).astype(np.float64) / WEIGHT_STEPS
        of_weight = float((steps**2 / 12 * (square * factor**2).sum(axis=1, dtype=np.float64)).sum()) * self.taps
        return (of_input + of_weight) / max(float((self.energy * square).sum(dtype=np.float64)), 1e-30)


class _Edit:
    """The graph, who takes what, and how its constants change."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.outputs = {output.name for output in graph.output}
        self.producers = {name: node for node in graph.node for name in node.output}
        self.takers: dict[str, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
        self.hidden = any(a.HasField("g") or a.graphs for node in graph.node for a in node.attribute)
        for node in graph.node:
            for position, name in enumerate(node.input):
                self.takers[name].append((node, position))
        self.names = {name for node in graph.node for name in (*node.input, *node.output)} | set(self.constants)

    def sites(self) -> Iterator[_Site]:
        """Every tensor that can be scaled, in the graph's order."""
        if self.hidden:  # a subgraph may take any tensor unseen
            return
        for node in list(self.graph.node):
            site = self._normalized(node) or self._clipped(node)
            if site is not None and self._follow(site.tensors[-1], site, not site.clipped) and site.takers:
                yield site

    def _normalized(self, node: onnx.NodeProto) -> _Site | None:
        """A LayerNormalization, or its last step where it is spelled out: times a constant, plus a constant."""
        if node.op_type == "LayerNormalization" and len(node.input) > 1 and all(map(self._vector, node.input[1:])):
            return _Site([node.output[0]], [], [(node, i) for i in range(1, len(node.input))], node.output[0])
        if node.op_type != "Add" or len(node.input) != 2:
            return None
        shift = [i for i, name in enumerate(node.input) if self._vector(name)]
        gain = self.producers.get(node.input[1 - shift[0]]) if len(shift) == 1 else None
        if gain is None or gain.op_type != "Mul" or not self._alone(gain.output[0]):
            return None
        scale = [i for i, name in enumerate(gain.input) if self._vector(name)]
        source = self.producers.get(gain.input[1 - scale[0]]) if len(scale) == 1 else None
        if source is None or source.op_type != "Div":
            return None
        return _Site([node.output[0]], [], [(gain, scale[0]), (node, shift[0])], node.output[0])

    def _clipped(self, node: onnx.NodeProto) -> _Site | None:
        """A Clip to 0..b of what a Conv alone puts out; both bounds stay, so no channel may grow beyond b."""
        conv = self.producers.get(node.input[0]) if node.op_type == "Clip" and len(node.input) == 3 else None
        if conv is None or conv.op_type != "Conv" or not self._alone(conv.output[0]):
            return None
        low, high = (self._number(name) for name in node.input[1:])
        if low != 0 or high is None or high <= 0 or not all(name in self.constants for name in conv.input[1:]):
            return None
        constants = [(conv, i) for i in range(1, len(conv.input))]
        return _Site([conv.output[0], node.output[0]], [], constants, node.output[0], high)

    def _follow(self, name: str, site: _Site, last: bool) -> bool:
        """Collect who takes a tensor; False when one of them cannot undo the factors.

        ``last`` says that the channels lie along the last axis, which matrix products add up; Convs add up axis 1.
        """
        if name in self.outputs:
            return False
        for node, position in self.takers[name]:
            if node.op_type in SHAPE_ONLY:
                continue
            flattened = node.op_type == "Flatten" and self.attribute(node, "axis", 1) == 1 and self._pooled(name)
            passing = node.op_type in PASSING or (not last and (node.op_type in POOLS or flattened))
            if position == 0 and passing and len(node.output) == 1:
                site.tensors.append(node.output[0])
                if not self._follow(node.output[0], site, last or flattened):
                    return False
            elif position == 0 and self.weight(node) is not None and (node.op_type == "Conv") != last:
                site.takers.append(node)
            else:
                return False
        return True

    def _pooled(self, name: str) -> bool:
        producer = self.producers.get(name)
        return producer is not None and producer.op_type in ("GlobalAveragePool", "GlobalMaxPool")

    def _alone(self, name: str) -> bool:
        return len(self.takers[name]) == 1 and name not in self.outputs

    def _vector(self, name: str) -> bool:
        tensor = self.constants.get(name)
        found = tensor is not None and tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 1
        return found and tensor is not None and tensor.dims[0] > 1

    def _number(self, name: str) -> float | None:
        tensor = self.constants.get(name)
        values = numpy_helper.to_array(tensor) if tensor is not None else np.zeros(0)
        return float(values.reshape(-1)[0]) if values.size == 1 else None

    @staticmethod
    def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
        return next((int(a.i) for a in node.attribute if a.name == name), default)

    def weight(self, node: onnx.NodeProto) -> npt.NDArray[np.float32] | None:
        """A Conv's, Gemm's or MatMul's constant weight as (O, I / groups, taps); None for any other node."""
        tensor = self.constants.get(node.input[1]) if len(node.input) > 1 else None
        if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT:
            return None
        rank = len(tensor.dims)
        turned = self._turned(node)
        if node.op_type == "Conv" and rank > 2:
            values = numpy_helper.to_array(tensor)
        elif rank == 2 and turned is not None:
            values = numpy_helper.to_array(tensor)
            values = values.T if turned else values
        else:
            return None
        shaped: npt.NDArray[np.float32] = values.reshape(*values.shape[:2], -1)
        return shaped

    def _turned(self, node: onnx.NodeProto) -> bool | None:
        """True if a matrix weight is (I, O); None for other nodes."""
        if node.op_type == "MatMul":
            return True
        if node.op_type == "Gemm" and not self.attribute(node, "transA", 0):
            return not self.attribute(node, "transB", 0)
        return None

    def apply(self, site: _Site, factors: Floats) -> None:
        """Multiply the producer's constants by the factors, and divide the takers' weights by them."""
        for node, position in site.producer:
            values = numpy_helper.to_array(self.constants[node.input[position]])
            self._replace(node, position, values * factors.reshape(-1, *[1] * (values.ndim - 1)))
        for node in site.takers:
            values = numpy_helper.to_array(self.constants[node.input[1]])
            if node.op_type == "Conv":
                groups = self.attribute(node, "group", 1)
                own = np.repeat(factors.reshape(groups, -1), len(values) // groups, axis=0)
                self._replace(node, 1, values / own.reshape(*own.shape, *[1] * (values.ndim - 2)))
            else:
                self._replace(node, 1, values / (factors[:, None] if self._turned(node) else factors))

    def _replace(self, node: onnx.NodeProto, position: int, values: npt.NDArray[np.floating]) -> None:
        """Give the node a constant of its own, for others may share the one it had."""
        name = f"{node.input[position]}_equalized"
        while name in self.names:
            name += "_"
        self.names.add(name)
        self.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
        self.constants[name] = self.graph.initializer[-1]
        node.input[position] = name
