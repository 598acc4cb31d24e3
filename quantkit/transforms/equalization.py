"""Equalization: channels that use little of their tensor's range are scaled up, and the consumers' weights down.

A tensor has one scale for all its channels, so the largest channel decides how finely all are rounded. If a factor per
channel can be moved from a tensor's producer into its consumers' weights, the model computes the same, and every
channel is rounded finely. The method is that of Nagel et al., "Data-Free Quantization Through Weight Equalization and
Bias Correction" (2019), https://arxiv.org/abs/1906.04721, section 4.1; for LayerNormalization that of Xiao et al.,
"SmoothQuant" (2022), https://arxiv.org/abs/2211.10438. Unlike there, channels are only scaled up, within the tensor's
range, so that the calibrated ranges remain true.

Channels are scaled only after a LayerNormalization and between the bounds of a Clip, and only if enough images were
counted. Elsewhere a rare large value would be cut off: ResNet-50 loses 2.5 dB by it. A Clip cuts off values beyond the
largest one that was counted: MobileNetV2 keeps 50 dB this way with 100 images, but only 21 with 8. For
symmetric schemes, channels are also scaled behind an activation that ends with a product with one number, as a GELU
that is spelled out does: few of its channels fill the range, and nearly half of that, below 0, is never used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from quantkit.core.ranges import LEVELS, STEPS, TensorRange
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.graph.graph import Graph, attribute, drop_unused_constants, names_in, operand, unique_name
from quantkit.graph.operators import weight_output_axis
from quantkit.transforms.equalization_sites import EqualizationSite, site_of, sums_from, weight_of

FEWEST_CLIPPED, FEWEST_NORMALIZED = 100, 16  # the fewest images to scale by, after a Clip and a LayerNormalization
LARGEST_FACTOR = 64.0
POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)  # exponents for the factors that fill the range; 0 leaves the tensor unchanged
CAPS = (1.5, 2.0, 4.0, 8.0)
GAIN = 0.999  # the error must fall below this share of the original one; less is not worth changing a weight
MARGIN = 1.25  # how far beyond its largest counted value a channel behind an activation keeps its range
WORTH = 0.75  # the share of the error that must be left there at most: rare larger values are not in the estimate
SPREAD = 8.0  # (maximum - minimum) / standard deviation of a channel, about that of 10,000 Gaussian values

Floats = npt.NDArray[np.float64]


def equalize(
    graph: onnx.GraphProto,
    ranges: dict[str, TensorRange],
    channels: Mapping[str, ChannelStatistics],
    sums: bool = False,
    products: bool = False,
) -> dict[str, Floats]:
    """Equalize the channels of every tensor that allows it.

    Args:
        graph: The graph, whose weights are initializers; it is edited. A graph with subgraphs is left unchanged.
        ranges: The ranges by tensor. They hold before and after the change, but those of changed outputs of a
            LayerNormalization and of changed products become those of the extremes: a method cuts off what few channels
            hold so that the others get smaller steps, which they have here anyway.
        channels: The statistics of every tensor's channels.
        sums: True to equalize sums of Convs, too, whose values nothing bounds.
        products: True to equalize products with one number in front of matrix products, too. The number becomes a
            vector, so that onnxruntime and OpenVINO no longer find the GELU that it belongs to.

    Returns:
        The factors of each changed tensor, (C,) float64, >= 1. The tensor now holds its former values times the factors
        of its channels.
    """
    factors: dict[str, Floats] = {}
    view, names = Graph(graph), names_in(graph)
    for node in view.nodes if not view.has_subgraphs else ():
        site = site_of(view, node, products)
        if site is None and sums and node.output[0] not in factors:
            site = sums_from(view, node)
        if site is not None and site.is_scaled and not factors.keys().isdisjoint(site.tensors):
            continue  # the statistics are those from before the change, so a second factor would leave the range
        wide = {} if site is None or site.is_clipped else _extremes(site, ranges, channels)
        chosen = None if site is None else _factors(view, site, {**ranges, **wide}, channels)
        if site is not None and chosen is not None:
            _apply(graph, view, site, chosen, names)
            ranges.update(wide)
            factors.update(dict.fromkeys(site.tensors, chosen))
            view = Graph(graph)
    if factors:
        drop_unused_constants(graph)
    return factors


def means_after(channels: Mapping[str, ChannelStatistics], factors: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the mean of every channel after equalization.

    Args:
        channels: The statistics of every tensor's channels before equalization.
        factors: The factors that :func:`equalize` returned.

    Returns:
        The means by tensor, (C,) float64.
    """
    return {name: own.mean * factors[name] if name in factors else own.mean for name, own in channels.items()}


def _extremes(
    site: EqualizationSite, ranges: Mapping[str, TensorRange], channels: Mapping[str, ChannelStatistics]
) -> dict[str, TensorRange]:
    """Return the ranges of a site's tensors, widened to the extremes of their channels."""
    found = {}
    for name in site.tensors:
        if name in ranges and name in channels and len(channels[name].minimum):
            low = min(ranges[name].low, float(channels[name].minimum.min()))
            high = max(ranges[name].high, float(channels[name].maximum.max()))
            if low < ranges[name].low or high > ranges[name].high:
                found[name] = TensorRange(max(-low, high, ranges[name].amax), low, high)
    return found


def _factors(
    graph: Graph, site: EqualizationSite, ranges: Mapping[str, TensorRange], channels: Mapping[str, ChannelStatistics]
) -> Floats | None:
    """Return the factors with the least expected error of the consumers' outputs; None if no factors are worth it."""
    # Only what consumers read is rounded behind a product.
    starts = [] if site.is_scaled else [site.start]
    measured = list(dict.fromkeys([*starts, *(node.input[0] for node in site.consumers)]))
    if site.is_sum:
        measured = [name for name in site.tensors if name in ranges]
    if not all(name in channels and name in ranges for name in measured):
        return None
    fewest = FEWEST_CLIPPED if site.is_clipped or site.is_sum else FEWEST_NORMALIZED
    # A Mul may stretch what it reads, or read channels along another axis.
    counts = {
        len(channels[name].minimum) for name in (site.tensors if site.is_scaled else measured) if name in channels
    }
    constants = (graph.constants[node.input[position]] for node, position in site.constants)
    counts |= {own.dims[0] for own in constants if list(own.dims) not in ([], [1])}
    if len(counts) != 1 or 0 in counts or min(channels[name].samples for name in measured) < fewest:
        return None
    room = np.full(counts.pop(), LARGEST_FACTOR)
    for name in measured:
        spare = MARGIN if site.is_scaled else 1.0
        room = np.minimum(room, _room(channels[name].maximum, min(ranges[name].high, site.highest) / spare))
        room = np.minimum(room, _room(-channels[name].minimum, -ranges[name].low / spare))
    full = np.maximum(room, 1.0)
    terms = [term for node in site.consumers if (term := _Term.of(graph, node, ranges, channels)) is not None]
    if len(terms) != len(site.consumers):
        return None
    candidates = [full**power for power in POWERS] + [np.minimum(full, cap) for cap in CAPS]
    errors = [sum(term.error(candidate) for term in terms) for candidate in candidates]
    best = int(np.argmin(errors))
    return candidates[best] if errors[best] < (WORTH if site.is_scaled else GAIN) * errors[0] else None


def _room(largest: npt.NDArray[np.float32], bound: float) -> Floats:
    """Return how much each channel can grow before it reaches ``bound``: inf if it has no values on that side."""
    used = np.maximum(largest.astype(np.float64), 0.0)
    side = used > 1e-6 * max(float(used.max(initial=0.0)), 1e-30)
    room: Floats = np.where(side, bound / np.where(side, used, 1.0), np.inf)
    return room


@dataclass
class _Term:
    """The expected error of one consumer, from its weight and its input's statistics.

    Attributes:
        energy: Σ w² over the taps, (O, I / groups).
        peak: max|w| over the taps, (O, I / groups).
        taps: The number of taps.
        groups: The number of groups.
        square: An estimate of E[x²] of each input channel, (I,).
        step: The input's quantization step.
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
        graph: Graph,
        node: onnx.NodeProto,
        ranges: Mapping[str, TensorRange],
        channels: Mapping[str, ChannelStatistics],
    ) -> _Term | None:
        weight = weight_of(graph, node)
        own, span = channels[node.input[0]], ranges[node.input[0]]
        groups = attribute(node, "group", 1)
        if weight is None or weight.shape[1] * groups != len(own.minimum) or weight.shape[0] % groups:
            return None
        spread = (own.maximum.astype(np.float64) - own.minimum) / SPREAD
        square = own.mean**2 + spread**2
        energy, peak = np.einsum("oit,oit->oi", weight, weight), np.abs(weight).max(axis=2)
        return cls(energy, peak, weight.shape[2], groups, square, (span.high - span.low) / STEPS)

    def _by_output(self, per_channel: Floats) -> npt.NDArray[np.float32]:
        """Return the value of each input channel that an output channel depends on: (O, I / groups), or (1, I)."""
        split = per_channel.astype(np.float32).reshape(self.groups, -1)
        return split if self.groups == 1 else np.repeat(split, len(self.energy) // self.groups, axis=0)

    def error(self, factors: Floats) -> float:
        """Return the error of rounding the input and the weight, relative to the layer's output."""
        factor, square = self._by_output(factors), self._by_output(self.square)
        of_input = self.step**2 / 12 * float((self.energy / factor**2).sum(dtype=np.float64))
        steps = (self.peak / factor).max(axis=1).astype(np.float64) / LEVELS
        of_weight = float((steps**2 / 12 * (square * factor**2).sum(axis=1, dtype=np.float64)).sum()) * self.taps
        return (of_input + of_weight) / max(float((self.energy * square).sum(dtype=np.float64)), 1e-30)


def _apply(graph: onnx.GraphProto, view: Graph, site: EqualizationSite, factors: Floats, names: set[str]) -> None:
    """Multiply the producer's constants by the factors, and divide the consumers' weights by them.

    Each node gets new constants, because other nodes may share the old ones. ``names`` are the names in use; the new
    ones are added to them.
    """

    def replace(node: onnx.NodeProto, position: int, values: npt.NDArray[np.floating]) -> None:
        name = unique_name(names, f"{node.input[position]}_equalized")
        names.add(name)
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
        node.input[position] = name

    for node, position in site.constants:
        values = numpy_helper.to_array(view.constants[node.input[position]])
        replace(node, position, values * factors.reshape(-1, *[1] * (values.ndim - 1)))
    for node in site.consumers:
        values = numpy_helper.to_array(view.constants[operand(node, 1)])
        if node.op_type == "Conv":
            groups = attribute(node, "group", 1)
            own = np.repeat(factors.reshape(groups, -1), len(values) // groups, axis=0)
            replace(node, 1, values / own.reshape(*own.shape, *[1] * (values.ndim - 2)))
        else:
            replace(node, 1, values / (factors[:, None] if weight_output_axis(node, 2) == 1 else factors))
