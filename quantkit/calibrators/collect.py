"""Counts activations into histograms and channel statistics, one sample at a time."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from quantkit.calibrators.count import Counter, Floats, count
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.core.statistics.clamp import Clamp
from quantkit.core.statistics.collected import Collected
from quantkit.core.statistics.extent import Extent
from quantkit.core.statistics.histogram import BINS, DEAD_WIDTH, SMALLEST_MAX, Histogram
from quantkit.core.statistics.moving import MovingExtremes, weight_of

UNITS_PER_WIDTH = 2.0**20  # resolution of channel means


class NotFinite(ValueError):
    """The tensor named ``tensor`` holds NaN or +Inf (``value``), in sample number ``row`` of those given."""

    def __init__(self, tensor: str, value: float, row: int = 0) -> None:
        super().__init__(f"{tensor} holds {value}")
        self.tensor = tensor
        self.value = value
        self.row = row


def note_maxima(maxima: dict[str, float], tensors: Mapping[str, Floats], clamps: Sequence[Clamp] = ()) -> set[str]:
    """Update ``maxima`` with one sample of the first batch.

    A tensor that holds -Inf, as the scores behind an attention mask do, gets no maximum.

    Args:
        maxima: The max|x| by tensor so far; updated in place.
        tensors: The sample's activations by tensor.
        clamps: Tensors that are computed from others by clamping and are not in ``tensors``.

    Returns:
        The names of tensors that hold -Inf.

    Raises:
        NotFinite: An activation is NaN or +Inf.
    """
    of = by_source(clamps)
    masked: set[str] = set()
    for name, array in tensors.items():
        low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)  # NaN propagates
        if math.isnan(low) or high == math.inf:
            raise NotFinite(name, _first_bad(array))
        ends = {name: (low, high)} | {clamp.name: (clamp(low), clamp(high)) for clamp in of.get(name, ())}
        for own, (least, most) in ends.items():
            if least == -math.inf:
                masked.add(own)
            else:
                maxima[own] = max(maxima.get(own, 0.0), -least, most)
    return masked


def first_widths(maxima: Mapping[str, float]) -> dict[str, float]:
    """Return the initial bin widths: max|x| / 2048 over the first batch, and 2⁻²⁴ for a tensor that was all zero."""
    return {name: DEAD_WIDTH if largest < SMALLEST_MAX else largest / BINS for name, largest in maxima.items()}


class Collector:
    """Histograms and channel statistics of tensors, in memory that does not grow with the number of samples.

    A tensor's bin width starts at ``widths`` and doubles, by summing neighbouring bins, whenever a larger value
    arrives. Because widths are dyadic multiples of one another, any division of the samples among collectors with the
    same ``widths`` merges to the same counts.

    Args:
        widths: The initial bin width of every tensor, from :func:`first_widths`.
        samples: The number of all samples, which decides the weight of each one in moving averages.
        axes: The channel axis of tensors for which it is not :func:`default_axis`.
        clamps: Tensors that clamp another one. They are not observed themselves but counted with their source.
        masked: The tensors that are known to hold -Inf, which are not counted.
    """

    def __init__(
        self,
        widths: Mapping[str, float],
        samples: int = 1,
        axes: Mapping[str, int] | None = None,
        clamps: Sequence[Clamp] = (),
        masked: Collection[str] = (),
    ) -> None:
        self.masked = set(masked)
        self._widths = widths
        self._samples = samples
        self._axes = axes or {}
        self._clamps = by_source(clamps)
        self._tensors: dict[str, Tally] = {}

    def observe(self, tensors: Mapping[str, Floats], position: int = 0) -> None:
        """Count every value of one sample.

        A tensor that turns out to hold -Inf joins ``masked``, and so do its clamps, which were counted with it.

        Args:
            tensors: The activations, float32 arrays of any shape.
            position: The number of the sample.

        Raises:
            NotFinite: An activation is NaN or +Inf. The collector must not be used afterwards.
            ValueError: A tensor has no width.
        """
        weight = weight_of(position, self._samples)
        for name, array in tensors.items():
            if not array.size:
                continue
            values = np.ascontiguousarray(array, dtype=np.float32)
            axis = self._axes.get(name, default_axis(array.ndim))
            if axis >= array.ndim:  # the tensor is broadcast to one that has this axis
                axis = default_axis(array.ndim)
            channels = array.shape[axis] if array.ndim else 1
            inner = math.prod(array.shape[axis:][1:]) if array.ndim else 1
            clamps = [clamp for clamp in self._clamps.get(name, ()) if clamp.name not in self.masked]
            if name in self.masked:
                self._observe_clamps(values, clamps, position)
                continue
            # A clamp's channels are its source's, whatever axis its consumers suggest.
            tensors_of = [self._tensor(own, channels) for own in (name, *(clamp.name for clamp in clamps))]
            if tensors_of[0].mixed:
                inner = array.size
            ends = [(-math.inf, math.inf), *((clamp.low, clamp.high) for clamp in clamps)]
            targets = [(tensor.counter, *end) for tensor, end in zip(tensors_of, ends, strict=True)]
            found = count(values, inner, targets)
            if found is None:
                bad = _first_bad(array)
                if bad != -math.inf:
                    raise NotFinite(name, bad)
                self.masked |= {name, *(clamp.name for clamp in clamps)}
                continue
            for tensor, (low, high) in zip(tensors_of, found, strict=True):
                tensor.add(low, high, position, self._samples, weight)

    def _observe_clamps(self, values: Floats, clamps: Sequence[Clamp], position: int) -> None:
        """Count the clamps of a tensor that is not counted itself."""
        for clamp in clamps:
            self.observe({clamp.name: values.clip(clamp.low, clamp.high)}, position)

    def _tensor(self, name: str, channels: int) -> Tally:
        tensor = self._tensors.get(name)
        if tensor is None:
            if name not in self._widths:
                raise ValueError(f"{name} was not in the first batch")
            width = self._widths[name]
            tensor = self._tensors[name] = Tally(Counter.empty(width, channels, width / UNITS_PER_WIDTH))
        elif channels != len(tensor.counter.total):
            tensor.give_up_channels()
        return tensor

    def collected(self) -> Collected:
        """Return the counts so far."""
        counted = {name: tensor for name, tensor in self._tensors.items() if name not in self.masked}
        return Collected(
            {name: tensor.histogram() for name, tensor in counted.items()},
            {name: tensor.channels() for name, tensor in counted.items()},
            {name: tensor.extent for name, tensor in counted.items()},
        )


def default_axis(rank: int) -> int:
    """Return the channel axis for a rank: 1 for (N, C, H, W) and more, the last for (N, C) and (N, tokens, C)."""
    return 1 if rank >= 4 else -1


@dataclass
class Tally:
    """What is known of one tensor so far.

    Attributes:
        counter: Its histogram and channels.
        minimum: The smallest value.
        maximum: The largest value.
        moving: The moving averages of samples' extremes.
        extent: The samples with the largest values.
        seen: The number of samples.
        mixed: True if samples had different numbers of channels, so that there are no channels.
    """

    counter: Counter
    minimum: float = math.inf
    maximum: float = -math.inf
    moving: MovingExtremes = field(default_factory=MovingExtremes)
    extent: Extent = field(default_factory=Extent)
    seen: int = 0
    mixed: bool = False

    def add(self, low: float, high: float, position: int, samples: int, weight: float) -> None:
        """Note the extremes of a sample: its number of so many, and its weight in moving averages."""
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        self.moving += MovingExtremes.of(low, high, weight)
        # Most samples change nothing, and this runs for every tensor of every sample.
        if not self.extent.covers(low, high):
            self.extent = self.extent.merged(Extent.of(low, high, position, samples))
        self.seen += 1

    def give_up_channels(self) -> None:
        """From now on, take the tensor for one of a single channel."""
        if not self.mixed:
            self.counter = self.counter.of_one_channel()
            self.mixed = True

    def histogram(self) -> Histogram:
        """Return the histogram so far."""
        positive, negative = self.counter.settle().copy()
        return Histogram(negative, positive, self.counter.width, self.minimum, self.maximum, self.moving)

    def channels(self) -> ChannelStatistics:
        """Return the statistics of channels so far."""
        counter = self.counter
        arrays = (counter.low.copy(), counter.high.copy(), counter.total.copy())
        statistics = ChannelStatistics(*arrays, counter.unit, self.seen)
        return statistics.none() if self.mixed else statistics


def by_source(clamps: Sequence[Clamp]) -> dict[str, list[Clamp]]:
    """Return the clamps of each tensor."""
    of: dict[str, list[Clamp]] = {}
    for clamp in clamps:
        of.setdefault(clamp.source, []).append(clamp)
    return of


def _first_bad(array: Floats) -> float:
    """Return the first NaN or +Inf; -Inf if there is neither."""
    flat = array.reshape(-1)
    bad = np.isnan(flat) | np.isposinf(flat)
    return float(flat[np.argmax(bad)]) if bad.any() else -math.inf
