"""Counts activation values into histograms, one tensor and one batch at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from quantkit.core.histogram import BINS, DEAD_WIDTH, Counts, Histogram, doubled

CHUNK = 1 << 16  # values counted at a time: the working set stays in the second-level cache
SMALLEST_MAX = 2.0**-100  # below this, max / 2048 would lose bits to subnormal float32; such a tensor is counted as zero

FloatArray = npt.NDArray[np.float32]


class NotFinite(ValueError):
    """A tensor holds NaN or Inf; ``tensor`` names it."""

    def __init__(self, tensor: str, value: float) -> None:
        super().__init__(f"{tensor} holds {value}")
        self.tensor = tensor
        self.value = value


class Collector:
    """Histograms of every tensor it is shown, in memory that does not grow with the number of batches.

    The bin width of a tensor is fixed by :meth:`prime` at max|x| / 2048 of the first batch and doubles, by summing
    neighbouring bins, whenever a larger value comes. Because widths are dyadic multiples of one another, the counts do
    not depend on how the values after the first batch were split, ordered or merged.
    """

    def __init__(self) -> None:
        self._first_max: dict[str, float] = {}
        self._tensors: dict[str, _Accumulator] = {}

    def prime(self, tensors: Mapping[str, FloatArray]) -> None:
        """Take widths from (a part of) the first batch, float32 arrays of any shape, without counting it."""
        for name, array in tensors.items():
            low, high = _extremes(name, array)
            self._first_max[name] = max(self._first_max.get(name, 0.0), -low, high)

    def observe(self, tensors: Mapping[str, FloatArray]) -> None:
        """Count every value of every tensor. Raises NotFinite on NaN or Inf, ValueError on a tensor never primed."""
        for name, array in tensors.items():
            if array.size == 0:
                continue
            accumulator = self._tensors.get(name)
            if accumulator is None:
                if name not in self._first_max:
                    raise ValueError(f"{name} was not primed")
                accumulator = self._tensors[name] = _Accumulator(_first_width(self._first_max[name]))
            accumulator.add(np.ascontiguousarray(array, dtype=np.float32).reshape(-1), *_extremes(name, array))

    def restore(self, histograms: Mapping[str, Histogram]) -> None:
        """Continue from histograms taken earlier with :meth:`histograms`."""
        for name, histogram in histograms.items():
            self._first_max[name] = histogram.largest
            self._tensors[name] = _Accumulator.continuing(histogram)

    def histograms(self) -> dict[str, Histogram]:
        """What has been counted so far."""
        return {name: accumulator.histogram() for name, accumulator in self._tensors.items()}


class _Accumulator:
    def __init__(self, width: float) -> None:
        self.width = width
        self.negative: Counts = np.zeros(BINS + 1, dtype=np.int64)
        self.positive: Counts = np.zeros(BINS + 1, dtype=np.int64)
        self.minimum = np.inf
        self.maximum = -np.inf

    @classmethod
    def continuing(cls, histogram: Histogram) -> _Accumulator:
        accumulator = cls(histogram.width)
        accumulator.negative, accumulator.positive = histogram.negative.copy(), histogram.positive.copy()
        accumulator.minimum, accumulator.maximum = histogram.minimum, histogram.maximum
        return accumulator

    def add(self, values: FloatArray, low: float, high: float) -> None:
        while max(-low, high) > self.width * BINS:
            self.negative, self.positive = doubled(self.negative), doubled(self.positive)
            self.width *= 2
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        # Division by a dyadic multiple of the first width rounds the same at every width, so that a value's bin at
        # width 2w is exactly half its bin at width w.
        width = np.float32(self.width)
        for start in range(0, values.size, CHUNK):
            chunk = values[start : start + CHUNK]
            bins = np.abs(chunk / width).astype(np.intp)
            if low < 0:
                bins += (chunk < 0) * np.intp(BINS + 1)
                both = np.bincount(bins, minlength=2 * (BINS + 1))
                self.positive += both[: BINS + 1]
                self.negative += both[BINS + 1 :]
            else:
                self.positive += np.bincount(bins, minlength=BINS + 1)

    def histogram(self) -> Histogram:
        return Histogram(
            self.negative.copy(), self.positive.copy(), self.width, float(self.minimum), float(self.maximum)
        )


def _first_width(largest: float) -> float:
    return DEAD_WIDTH if largest < SMALLEST_MAX else largest / BINS


def _extremes(name: str, array: FloatArray) -> tuple[float, float]:
    """Signed minimum and maximum; NaN propagates through both, so that two reductions also check every value."""
    if array.size == 0:
        return 0.0, 0.0
    low, high = float(array.min()), float(array.max())
    for value in (low, high):
        if not np.isfinite(value):
            raise NotFinite(name, value)
    return low, high
