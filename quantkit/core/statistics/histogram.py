"""The histogram of an activation tensor, with exact merging and bounded size."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from quantkit.core.by_value import ByValue
from quantkit.core.statistics.extent import Extent
from quantkit.core.statistics.moving import MovingExtremes

Counts = npt.NDArray[np.int64]

BINS = 2048
# Below this, max / 2048 would lose bits to subnormal float32, and so would a scale. Such a tensor counts as zero.
SMALLEST_MAX = 2.0**-100
DEAD_WIDTH = 2.0**-24  # bin width of a tensor that was all zero in the first batch


@dataclass(frozen=True, eq=False)
class Histogram(ByValue):
    """Counts of x < 0 and of x >= 0 by magnitude, with the exact signed extremes.

    Bin k < 2048 counts k*width <= |x| < (k+1)*width. Bin 2048 counts the values equal to the top edge 2048*width. If
    the width doubles, that last bin becomes bin 1024, exactly where those values belong, so merging is associative and
    commutative. Counting them in bin 2047 would make the result depend on the order.

    Attributes:
        negative: The counts of x < 0, int64 of shape (2049,).
        positive: The counts of x >= 0, int64 of shape (2049,).
        width: The bin width.
        minimum: The smallest value.
        maximum: The largest value.
        moving: The moving averages of the images' minima and maxima.
        extent: The images with the largest values. It is set for calibrators, and empty while counts are merged.
        samples: The number of images, likewise.
    """

    negative: Counts
    positive: Counts
    width: float
    minimum: float
    maximum: float
    moving: MovingExtremes = field(default_factory=MovingExtremes)
    extent: Extent = field(default_factory=Extent)
    samples: int = 0

    def __repr__(self) -> str:
        return f"Histogram({self.total} values from {self.minimum:.5g} to {self.maximum:.5g})"

    @property
    def total(self) -> int:
        """The number of values."""
        return int(self.negative.sum() + self.positive.sum())

    @property
    def largest(self) -> float:
        """The exact max|x|."""
        return max(abs(self.minimum), abs(self.maximum))

    @property
    def is_dead(self) -> bool:
        """True if every value was zero, or so small that no scale in float32 fits it."""
        return self.largest < SMALLEST_MAX

    @property
    def absolute(self) -> Counts:
        """The counts of |x|, int64 of shape (2048,), with the top-edge bin folded into bin 2047."""
        return folded(self.negative + self.positive)

    def widened(self, width: float) -> Histogram:
        """Return the same counts at ``width``. Raises ValueError unless it is this width times a power of two."""
        if width == self.width:
            return self
        factor = width / self.width
        if factor < 1 or np.frexp(factor)[0] != 0.5:
            raise ValueError(f"cannot re-bin from width {self.width} to {width}: not a doubling")
        negative, positive = self.negative, self.positive
        for _ in range(int(np.log2(factor))):
            negative, positive = doubled(negative), doubled(positive)
        return replace(self, negative=negative, positive=positive, width=width)

    def merged(self, other: Histogram) -> Histogram:
        """Merge two sets of values. Raises ValueError unless the widths are dyadic multiples of each other."""
        width = max(self.width, other.width)
        a, b = self.widened(width), other.widened(width)
        return Histogram(
            a.negative + b.negative,
            a.positive + b.positive,
            width,
            min(a.minimum, b.minimum),
            max(a.maximum, b.maximum),
            a.moving + b.moving,
        )


def folded(counts: Counts) -> Counts:
    """Reduce (2049,) counts to (2048,); values on the top edge are counted in the last bin."""
    inner = counts[:BINS].copy()
    inner[-1] += counts[BINS]
    return inner


def doubled(counts: Counts) -> Counts:
    """Return (2049,) counts at twice the bin width: neighbours are summed, and the top-edge bin becomes bin 1024."""
    out = np.zeros_like(counts)
    out[: BINS // 2] = counts[0:BINS:2] + counts[1:BINS:2]
    out[BINS // 2] = counts[BINS]
    return out
