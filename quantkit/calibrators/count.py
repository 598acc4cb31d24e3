"""Counts one array's values: in C where the compiled kernel is there, else in NumPy, with the same counts.

Measured per value on one core (docs/performance.md): the kernel 0.6 ns, NumPy 3 ns. The kernel adds some 60 KB to the
install; numba, the next fastest, 213 MB.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from quantkit.core.histogram import BINS, doubled

try:
    from quantkit.calibrators import _count as kernel
except ImportError:  # built without a compiler
    kernel = None  # type: ignore[assignment, unused-ignore]
COMPILED = kernel is not None

CHUNK = 1 << 16  # values that NumPy counts at a time: the working set stays in the second-level cache
LARGEST_MEAN = 2.0**46  # in units; 2^17 samples of it still fit in 64 bits

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass
class Counter:
    """The growing state of one tensor: what the kernel writes to.

    ``counts`` is int64 of shape (2, 2049), x >= 0 then x < 0 (see :class:`~quantkit.core.histogram.Histogram`), at bin
    ``width``. ``low`` and ``high`` are float32, ``total`` int64, of shape (C,), one for each channel (see
    :class:`~quantkit.core.channels.ChannelStatistics`); ``unit`` is that of ``total``.
    """

    counts: Integers
    width: float
    low: Floats
    high: Floats
    total: Integers
    unit: float
    addresses: tuple[int, ...] = field(init=False)  # of the four arrays; asking each time takes microseconds

    def __post_init__(self) -> None:
        arrays = (self.counts, self.low, self.high, self.total)
        self.addresses = tuple(array.__array_interface__["data"][0] for array in arrays)

    @classmethod
    def empty(cls, width: float, channels: int, unit: float) -> Counter:
        """Nothing counted yet."""
        return cls(
            np.zeros((2, BINS + 1), np.int64),
            width,
            np.full(channels, np.inf, np.float32),
            np.full(channels, -np.inf, np.float32),
            np.zeros(channels, np.int64),
            unit,
        )

    def of_one_channel(self) -> Counter:
        """The same counts, channels no longer told apart."""
        return replace(self.empty(self.width, 1, self.unit), counts=self.counts)


def count(counter: Counter, values: Floats, inner: int) -> tuple[float, float] | None:
    """Count ``values``, C-contiguous and not empty, and return their minimum and maximum; None if NaN or Inf is there.

    The array is read as (rows, C, ``inner``). The width doubles until every value fits. After None the counter holds a
    part of the values and is of no use.
    """
    channels = len(counter.total)
    factor = channels / (values.size * counter.unit)
    if kernel is None:
        return _count_in_numpy(counter, values.reshape(-1, channels, inner), factor)
    start = values.__array_interface__["data"][0]
    counts, lows, highs, totals = counter.addresses
    width, low, high, finite = kernel.count(
        start, values.size, channels, inner, counter.width, counts, lows, highs, totals, factor
    )
    counter.width = width
    return (low, high) if finite else None


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
