"""The range of one tensor, which calibrators find and targets consume."""

from __future__ import annotations

import math
from dataclasses import dataclass

LARGEST = 3.4028234663852886e38  # of float32
LEVELS = 127  # of symmetric int8 on each side of zero
STEPS = 255  # of 8 bits from the lowest to the highest value
LARGEST_HALF = 65504.0  # of FP16
SMALLEST_RANGE = 2.0**-18  # of a tensor whose largest values have fewer than seven bits in FP16


@dataclass(frozen=True)
class TensorRange:
    """The range of a tensor's values, in the tensor's units. Raises ValueError for values that break these rules.

    Attributes:
        amax: The symmetric range [-amax, amax], for schemes such as TensorRT's with scale = amax / 127; above 0.
        low: The lower end for asymmetric schemes, which must represent zero exactly; low <= 0.
        high: The upper end for asymmetric schemes; high >= 0, and low < high.
    """

    amax: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not all(abs(end) <= LARGEST for end in (self.amax, self.low, self.high)):
            raise ValueError(f"a range must be finite, in float32: {self}")
        if self.amax <= 0 or not self.low <= 0 <= self.high or self.low == self.high:
            raise ValueError(f"a range must have amax > 0 and low <= 0 <= high with low < high: {self}")

    @classmethod
    def symmetric(cls, amax: float, minimum: float, maximum: float) -> TensorRange:
        """Make the range of a method that finds only ``amax``.

        Args:
            amax: The symmetric range.
            minimum: The smallest value seen; low is this value clipped to ±amax.
            maximum: The largest value seen; high is this value clipped to ±amax.

        Returns:
            The range.
        """
        if math.isfinite(amax):
            amax = min(amax, LARGEST)  # the edge of a histogram may lie beyond float32
        return cls(amax, low=min(max(minimum, -amax), 0.0), high=max(min(maximum, amax), 0.0))

    @classmethod
    def asymmetric(cls, low: float, high: float) -> TensorRange:
        """Make the range of a method that finds both ends, stretched to include zero; amax covers both ends."""
        low, high = min(low, 0.0), max(high, 0.0)
        if math.isfinite(low) and math.isfinite(high):
            low, high = max(low, -LARGEST), min(high, LARGEST)
        return cls(max(-low, high), low, high)

    @property
    def fits_half(self) -> bool:
        """True if FP16 can hold values of this range."""
        return SMALLEST_RANGE <= max(self.high, -self.low) <= LARGEST_HALF

    @property
    def scale(self) -> float:
        """The symmetric int8 scale, amax / 127."""
        return self.amax / LEVELS
