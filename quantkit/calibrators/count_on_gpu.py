"""Counts tensors on the GPU, where they were computed: the same histograms and statistics as ``collect`` makes of them.

A tensor is read twice: for its extremes, which decide the width of bins, and for the histogram. Sums of channels are in
float64, where the CPU's are in float32 for a stretch, so that means may differ in the last place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantkit.calibrators.collect import UNITS_PER_WIDTH, NotFinite, Tally, by_source, default_axis
from quantkit.calibrators.count import LARGEST_MEAN, Counter
from quantkit.core.cuda import ADDRESS, FLOAT, INT, LONG, Buffer, Kernels, OnGpu
from quantkit.core.statistics.clamp import Clamp
from quantkit.core.statistics.collected import Collected
from quantkit.core.statistics.histogram import BINS
from quantkit.core.statistics.moving import weight_of

SOURCE = Path(__file__).with_name("_count.cu")
THREADS = 256
VALUES_A_BLOCK = 1 << 16  # of a histogram, so that adding it up takes little of the time
MOST_BLOCKS = 1 << 12
COUNTS = 2 * (BINS + 1)
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """A tensor, or what a clamp makes of it, in the samples of one run.

    Attributes:
        name: The tensor, or the clamp's.
        address: Where it lies.
        samples: The number of samples; 1 for a tensor without a row for each.
        per_sample: The values of a sample.
        channels: The channels.
        inner: The values behind each channel.
        low: Values below become this.
        high: Values above become this.
    """

    name: str
    address: int
    samples: int
    per_sample: int
    channels: int
    inner: int
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class Extremes:
    """Of each sample and channel: the least and the largest value, float32 (samples, C), and the sum, float64."""

    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]
    total: Doubles


def extremes_of(kernels: Kernels, parts: Sequence[Part]) -> list[Extremes]:
    """Return the extremes of several parts, which all come back in one copy."""
    bounds = [0, *accumulate(part.samples * part.channels for part in parts)]
    count = bounds[-1]
    found = Buffer(16 * count)
    for part, start in zip(parts, bounds, strict=False):
        lows, highs = found.address + 8 * count + 4 * start, found.address + 12 * count + 4 * start
        _launch_extremes(kernels, part, (lows, highs, found.address + 8 * start))
    totals = found.download(np.float64, count)
    low, high = found.download(np.float32, 2 * count, 8 * count).reshape(2, -1)
    places = [(slice(first, last), part) for part, first, last in zip(parts, bounds, bounds[1:], strict=False)]
    return [
        Extremes(*(values[at].reshape(part.samples, part.channels) for values in (low, high, totals)))
        for at, part in places
    ]


def _launch_extremes(kernels: Kernels, part: Part, out: tuple[int, int, int]) -> None:
    """Launch the kernel for a part's layout, which writes to three addresses: least, largest, sum."""
    ends, kinds = (part.low, part.high, *out), (FLOAT, FLOAT, ADDRESS, ADDRESS, ADDRESS)
    shape = (part.address, part.per_sample, part.channels)
    if part.inner == 1:
        blocks = (math.ceil(part.channels / 32), part.samples)
        kernels.launch("extremes_of_rows", blocks, (32, 8), (*shape, *ends), (ADDRESS, LONG, INT, *kinds))
        return
    threads = min(THREADS, max(32, 1 << (part.inner - 1).bit_length()))
    blocks = (part.channels, part.samples)
    values = (*shape, part.inner, *ends)
    kernels.launch("extremes_of_planes", blocks, (threads,), values, (ADDRESS, LONG, INT, LONG, *kinds))


def part_of(name: str, tensor: OnGpu, samples: int, rowed: bool, axis: int | None = None) -> Part:
    """Return a tensor as a part.

    Args:
        name: Its name.
        tensor: The tensor.
        samples: The number of samples to count, the first ones.
        rowed: True if it has a row for each sample.
        axis: The channel axis; None means :func:`~quantkit.calibrators.collect.default_axis`.
    """
    shape = (1, *tensor.shape[1:]) if rowed else tensor.shape
    per_sample = math.prod(shape)
    if not shape:
        return Part(name, tensor.address, 1, 1, 1, 1)
    chosen = default_axis(len(shape)) if axis is None or axis >= len(shape) else axis
    inner = math.prod(shape[chosen:][1:])
    return Part(name, tensor.address, samples if rowed else 1, per_sample, shape[chosen], inner)


class GpuCollector:
    """Histograms and channel statistics of tensors on the GPU; see :class:`~quantkit.calibrators.collect.Collector`.

    Args:
        kernels: The kernels of SOURCE.
        widths: The initial bin width of every tensor.
        samples: The number of all samples.
        axes: The channel axis of tensors for which it is not the default.
        clamps: Tensors that clamp another one.
        masked: The tensors that are known to hold -Inf.
        excluded: True for tensors that may hold NaN or Inf, and are not counted then.
    """

    def __init__(
        self,
        kernels: Kernels,
        widths: Mapping[str, float],
        samples: int,
        axes: Mapping[str, int],
        clamps: Sequence[Clamp],
        masked: Collection[str],
        excluded: Callable[[str], bool],
    ) -> None:
        self.masked, self.not_finite = set(masked), set[str]()
        self._kernels, self._widths, self._samples, self._axes = kernels, widths, samples, axes
        self._clamps, self._excluded = by_source(clamps), excluded
        self._tallies: dict[str, Tally] = {}
        self._counts: dict[str, Buffer] = {}

    def observe(self, tensors: Mapping[str, OnGpu], positions: Sequence[int], rows: int) -> None:
        """Count one run.

        Args:
            tensors: The activations.
            positions: The numbers of the run's samples.
            rows: The number of rows that a tensor has if it has one for each sample. Any other tensor is counted as
                the first sample's; 1 if all are.

        Raises:
            NotFinite: An activation is NaN or +Inf. The collector must not be used afterwards.
        """
        parts = [part for name, tensor in tensors.items() for part in self._parts(name, tensor, len(positions), rows)]
        if not parts:
            return
        found = dict(zip((part.name for part in parts), extremes_of(self._kernels, parts), strict=True))
        self._check([part for part in parts if part.name in tensors], found)
        skipped = self.masked | self.not_finite
        weights = [weight_of(position, self._samples) for position in positions]
        for part in parts:
            if part.name not in skipped:
                self._count(part, found[part.name], positions, weights)

    def collected(self) -> Collected:
        """Return the counts so far."""
        counted = {n: t for n, t in self._tallies.items() if n not in self.masked | self.not_finite}
        for name, tally in counted.items():
            tally.counter.counts[...] = self._counts[name].download(np.uint64, COUNTS).reshape(2, -1).astype(np.int64)
        return Collected(
            {name: tally.histogram() for name, tally in counted.items()},
            {name: tally.channels() for name, tally in counted.items()},
            {name: tally.extent for name, tally in counted.items()},
        )

    def _parts(self, name: str, tensor: OnGpu, samples: int, rows: int) -> list[Part]:
        """Return a tensor and its clamps, without those that are not counted."""
        if not math.prod(tensor.shape) or name in self.not_finite:
            return []
        rowed = rows > 1 and bool(tensor.shape) and tensor.shape[0] == rows
        whole = part_of(name, tensor, samples, rowed, self._axes.get(name))
        clamps = [clamp for clamp in self._clamps.get(name, ()) if clamp.name not in self.masked]
        names = [*([] if name in self.masked else [name]), *(clamp.name for clamp in clamps)]
        mixed = [self._tally(each, whole.channels).mixed for each in names]
        if any(mixed):
            whole = replace(whole, channels=1, inner=whole.per_sample)
        own = [] if name in self.masked else [whole]
        return own + [replace(whole, name=clamp.name, low=clamp.low, high=clamp.high) for clamp in clamps]

    def _tally(self, name: str, channels: int) -> Tally:
        tally = self._tallies.get(name)
        if tally is None:
            if name not in self._widths:
                raise ValueError(f"{name} was not in the first batch")
            width = self._widths[name]
            tally = self._tallies[name] = Tally(Counter.empty(width, channels, width / UNITS_PER_WIDTH))
            self._counts[name] = Buffer(8 * COUNTS)
        elif channels != len(tally.counter.total):
            tally.give_up_channels()
        return tally

    def _check(self, parts: Sequence[Part], found: Mapping[str, Extremes]) -> None:
        """Note tensors with -Inf, and excluded ones that are not finite. Raises NotFinite for any other."""
        wrong: list[NotFinite] = []
        for part in parts:
            low, high = found[part.name].low, found[part.name].high
            bad = np.isnan(low).any(axis=1) | np.isposinf(high).any(axis=1)
            if self._excluded(part.name) and (bad.any() or np.isneginf(low).any()):
                self.not_finite.add(part.name)
            elif bad.any():
                row = int(np.argmax(bad))
                wrong.append(NotFinite(part.name, math.nan if np.isnan(low[row]).any() else math.inf, row))
            elif np.isneginf(low).any():
                self.masked |= {part.name, *(clamp.name for clamp in self._clamps.get(part.name, ()))}
        if wrong:
            raise min(wrong, key=lambda error: error.row)

    def _count(self, part: Part, own: Extremes, positions: Sequence[int], weights: Sequence[float]) -> None:
        tally, counts = self._tallies[part.name], self._counts[part.name]
        counter = tally.counter
        lows, highs = own.low.min(axis=1).tolist(), own.high.max(axis=1).tolist()
        doublings = 0
        while max(-min(lows), max(highs)) > counter.width * BINS:
            counter.width *= 2
            doublings += 1
        if doublings:
            self._kernels.launch("widen", (1,), (THREADS,), (counts.address, doublings), (ADDRESS, INT))
        values = part.samples * part.per_sample
        blocks = min(MOST_BLOCKS, math.ceil(values / VALUES_A_BLOCK))
        self._kernels.launch(
            "histogram",
            (blocks,),
            (THREADS,),
            (part.address, values, counter.width, part.low, part.high, counts.address),
            (ADDRESS, LONG, FLOAT, FLOAT, FLOAT, ADDRESS),
        )
        np.minimum(counter.low, own.low.min(axis=0), out=counter.low)
        np.maximum(counter.high, own.high.max(axis=0), out=counter.high)
        means = own.total * (part.channels / (part.per_sample * counter.unit))
        counter.total += np.rint(means.clip(-LARGEST_MEAN, LARGEST_MEAN)).astype(np.int64).sum(axis=0)
        for low, high, position, weight in zip(lows, highs, positions, weights, strict=False):
            tally.add(low, high, position, self._samples, weight)
