"""The range of one tensor, as a calibrator finds it and targets consume it."""

from __future__ import annotations

import math
from dataclasses import dataclass

LEVELS = 127  # of symmetric int8 on either side of zero
STEPS = 255  # of 8 bits from one end to the other


@dataclass(frozen=True)
class TensorRange:
    """What a tensor's values may span, in the tensor's own units.

    ``amax`` (> 0) is the symmetric range for [-amax, amax] schemes such as TensorRT's, where scale = amax / 127.
    ``low`` <= 0 <= ``high`` is the range for asymmetric schemes, which must hold zero exactly; low < high.
    Raises ValueError when a value is not finite or the order is broken.
    """

    amax: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.amax, self.low, self.high))):
            raise ValueError(f"a range must be finite: {self}")
        if self.amax <= 0 or not self.low <= 0 <= self.high or self.low == self.high:
            raise ValueError(f"a range must have amax > 0 and low <= 0 <= high with low < high: {self}")

    @classmethod
    def symmetric(cls, amax: float, minimum: float, maximum: float) -> TensorRange:
        """The range of a method that finds only ``amax``: what was seen (``minimum``, ``maximum``), cut at ±amax."""
        return cls(amax, low=min(max(minimum, -amax), 0.0), high=max(min(maximum, amax), 0.0))

    @classmethod
    def asymmetric(cls, low: float, high: float) -> TensorRange:
        """The range of a method that finds both ends; it is stretched to hold zero, and amax covers the farther end."""
        low, high = min(low, 0.0), max(high, 0.0)
        return cls(max(-low, high), low, high)

    @property
    def scale(self) -> float:
        """The symmetric int8 scale, amax / 127."""
        return self.amax / LEVELS
