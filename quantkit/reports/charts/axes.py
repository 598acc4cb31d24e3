"""Scales and ticks of charts: pure functions from values to places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

STEPS = (1.0, 2.0, 5.0, 10.0)  # times a power of ten, between ticks that are easy to read
ROOM = 0.06  # of the span, beyond the outermost values
SMALLEST = 1e-12  # on an axis that becomes logarithmic by itself
MOST_RATIO = 20.0  # of largest to smallest; beyond it an axis is logarithmic


@dataclass(frozen=True)
class Scale:
    """Maps values from ``low`` to ``high`` onto ``start`` to ``end``, in the units of the drawing.

    A logarithmic one maps equal ratios onto equal lengths; ``low`` must be above 0.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        low, high = self._of(self.low), self._of(self.high)
        share = (self._of(value) - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def _of(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value

    def ticks(self, wanted: int) -> list[float]:
        """Return about so many values to label."""
        found = log_ticks(self.low, self.high) if self.logarithmic else []
        return found if len(found) > 1 else nice_ticks(self.low, self.high, wanted)


def scale_of(values: Sequence[float], start: float, end: float, logarithmic: bool | None = None) -> Scale:
    """Make a scale that has room for all values.

    Args:
        values: The finite values to show, at least one.
        start: The place of the low end.
        end: The place of the high end.
        logarithmic: True or False; None takes a logarithmic scale for positive values that differ much.

    Returns:
        The scale.
    """
    low, high = min(values), max(values)
    if logarithmic is None:
        logarithmic = low > SMALLEST and high > MOST_RATIO * low
    if logarithmic:
        room = (high / low) ** ROOM if high > low else 1.2
        return Scale(low / room, high * room, start, end, logarithmic=True)
    span = high - low or abs(high) * 0.1 or 1.0
    return Scale(low - ROOM * span, high + ROOM * span, start, end)


def nice_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten from ``low`` to ``high``, about ``wanted`` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / max(wanted, 1)
    exponent = math.floor(math.log10(raw))
    power = 10.0**exponent
    step = power * next(factor for factor in STEPS if factor * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 1 - exponent) for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten from ``low`` to ``high``; of many decades the powers alone."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = STEPS[:3] if len(powers) <= 4 else STEPS[:1]
    found = [float(f"{factor:g}e{power}") for power in powers for factor in factors]
    return [value for value in found if low <= value <= high]


def tick_label(value: float) -> str:
    """Write a tick's value without needless digits, with a true minus sign."""
    return f"{value:,.6g}".replace("-", "\N{MINUS SIGN}")
