"""An activation that is another one, cut off: what a ReLU or a Clip puts out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Clamp:
    """The tensor called ``name`` holds min(max(x, low), high) for every x of the tensor called ``source``."""

    name: str
    source: str
    low: float
    high: float

    def __call__(self, value: float) -> float:
        """Cut off one value."""
        return min(max(value, self.low), self.high)
