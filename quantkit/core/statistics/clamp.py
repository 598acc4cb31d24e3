"""An activation that is another one clamped: the output of a ReLU or a Clip."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Clamp:
    """The tensor ``name`` holds min(max(x, low), high) for every x of the tensor ``source``."""

    name: str
    source: str
    low: float
    high: float

    def __call__(self, value: float) -> float:
        """Clamp a value."""
        return min(max(value, self.low), self.high)
