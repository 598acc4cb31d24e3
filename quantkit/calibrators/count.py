"""Counts the values of one array: in C if the kernel is compiled, else in NumPy, with the same result.

The kernel takes 0.6 ns per value on one core, NumPy 3 ns (docs/performance.md). The kernel adds some 60 KB to the
installation; numba, the next fastest option, adds 213 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from quantkit.core.statistics.histogram import BINS, doubled

try:
    from quantkit.calibrators import _count as kernel
except ImportError:  # built without a compiler
    kernel = None  # type: ignore[assignment, unused-ignore]
COMPILED = kernel is not None

COPIES = 4  # as in the kernel; see _count.c
CHUNK = 1 << 16  # values that NumPy counts at a time: the working set stays in the second-level cache
LARGEST_MEAN = 2.0**45  # in units; the sum over 2^17 samples still fits in 64 bits

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass
class Counter:
    """The state of one tensor, which the kernel updates in place.

    Attributes:
        counts: int64 of shape (2, 2049): x >= 0, then x < 0; see ``Histogram``.
        width: The bin width.
        low: The minimum of each channel, float32 of shape (C,).
        high: The maximum of each channel, float32 of shape (C,).
        total: The sum of each channel's means in ``unit``, int64 of shape (C,); see ``ChannelStatistics``.
        unit: The unit of ``total``.
        copies: The latest values, not yet in ``counts``: uint16 of shape (4, 2, 2049). :meth:`settle` moves them.
        in_copies: The largest possible count of a bin of ``copies``.
        addresses: The addresses of the arrays.
    """

    counts: Integers
    width: float
    low: Floats
    high: Floats
    total: Integers
    unit: float
    copies: npt.NDArray[np.uint16] = field(default_factory=lambda: np.zeros((COPIES, 2, BINS + 1), np.uint16))
    in_copies: int = 0
    addresses: tuple[int, int, int, int, int] = field(init=False)  # asking NumPy takes a microsecond each

    def __post_init__(self) -> None:
        arrays = (self.counts, self.copies, self.low, self.high, self.total)
        counts, copies, low, high, total = (array.__array_interface__["data"][0] for array in arrays)
        self.addresses = (counts, copies, low, high, total)

    @classmethod
    def empty(cls, width: float, channels: int, unit: float) -> Counter:
        """Return a counter without counts."""
        return cls(
            np.zeros((2, BINS + 1), np.int64),
            width,
            np.full(channels, np.inf, np.float32),
            np.full(channels, -np.inf, np.float32),
            np.zeros(channels, np.int64),
            unit,
        )

    def of_one_channel(self) -> Counter:
        """Return the same counts as those of a tensor with one channel, without channel statistics."""
        self.settle()
        return replace(self.empty(self.width, 1, self.unit), counts=self.counts)

    def settle(self) -> Integers:
        """Move the copies into ``counts`` and return ``counts``."""
        self.counts += self.copies.sum(axis=0, dtype=np.int64)
        self.copies[:] = 0
        self.in_copies = 0
        return self.counts


Target = tuple[Counter, float, float]
"""A counter, and the low and high that values are clamped to before it counts them (-inf and inf: not at all)."""


def count(values: Floats, inner: int, targets: Sequence[Target]) -> list[tuple[float, float]] | None:
    """Count an array in every target, reading it once. Bin widths double until every value fits.

    Args:
        values: A C-contiguous array that is not empty; it is read as (rows, C, ``inner``).
        inner: The number of values behind each channel.
        targets: The counters, each with its clamp.

    Returns:
        The minimum and maximum that each target saw; None if there is NaN or Inf, after which the counters must not be
        used.
    """
    channels = len(targets[0][0].total)
    factors = [channels / (values.size * counter.unit) for counter, _, _ in targets]
    if kernel is None:
        rows = values.reshape(-1, channels, inner)
        found = [_count_in_numpy(t[0], rows.clip(t[1], t[2]), f) for t, f in zip(targets, factors, strict=True)]
        return [extremes for extremes in found if extremes] if all(found) else None
    start = values.__array_interface__["data"][0]
    items = tuple(
        (counter.width, counter.in_copies, *counter.addresses, factor, low, high)
        for (counter, low, high), factor in zip(targets, factors, strict=True)
    )
    results = kernel.count(start, values.size, channels, inner, items)
    for (counter, _, _), (width, in_copies, _, _) in zip(targets, results, strict=False):
        counter.width, counter.in_copies = width, in_copies
    return [(minimum, maximum) for _, _, minimum, maximum in results] or None


def _count_in_numpy(counter: Counter, values: Floats, factor: float) -> tuple[float, float] | None:
    lows, highs = values.min(axis=(0, 2)), values.max(axis=(0, 2))  # NaN propagates through both
    low, high = float(lows.min()), float(highs.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        return None
    while max(-low, high) > counter.width * BINS:
        counter.counts[:] = [doubled(side) for side in counter.counts]
        counter.width *= 2
    np.minimum(counter.low, lows, out=counter.low)
    np.maximum(counter.high, highs, out=counter.high)
    means = values.sum(axis=(0, 2), dtype=np.float64) * factor
    counter.total += np.rint(means.clip(-LARGEST_MEAN, LARGEST_MEAN)).astype(np.int64)
    flat, width = values.reshape(-1), np.float32(counter.width)
    for start in range(0, flat.size, CHUNK):
        chunk = flat[start : start + CHUNK]
        # Division, as in the kernel: by a dyadic multiple of the first width it rounds the same at every width, so that
        # a value's bin at width 2w is exactly half its bin at width w.
        bins = np.abs(chunk / width).astype(np.intp)
        bins += (chunk < 0) * np.intp(BINS + 1)
        counter.counts += np.bincount(bins, minlength=2 * (BINS + 1)).reshape(2, -1)
    return low, high
