"""Which images made a tensor's range, so that people can be told when a few decide it."""

from __future__ import annotations

import math
from dataclasses import dataclass

STRANGE = 1.5  # times the runner-up's max|x|: then one image is unlike all others, and sets the range
LATE = 0.1  # share of the images, the last ones, that should not widen a range any more


@dataclass(frozen=True)
class Extent:
    """Extremes over the first nine tenths of the images, and the two images with the largest max|x|.

    ``largest`` comes from image number ``position`` of the choice (the first of equals), ``runner_up`` is the largest
    of all the others. Merging is exact.
    """

    early_minimum: float = math.inf
    early_maximum: float = -math.inf
    largest: float = -1.0
    position: int = -1
    runner_up: float = -1.0

    @classmethod
    def of(cls, minimum: float, maximum: float, position: int, samples: int) -> Extent:
        """One image's contribution: the ``position``-th of ``samples``."""
        early = (minimum, maximum) if position < samples - max(int(samples * LATE), 1) else (math.inf, -math.inf)
        return cls(*early, max(-minimum, maximum), position)

    @property
    def is_strange(self) -> bool:
        """True if one image reaches more than 1.5 times as far as any other."""
        return self.runner_up >= 0 and self.largest > STRANGE * self.runner_up

    def covers(self, minimum: float, maximum: float) -> bool:
        """True if an image with these extremes, wherever it stands, changes nothing."""
        return (
            self.early_minimum <= minimum and self.early_maximum >= maximum and max(-minimum, maximum) <= self.runner_up
        )

    def merged(self, other: Extent) -> Extent:
        """The extent of both sets of images."""
        first, second = self, other
        if (other.largest, -other.position) > (self.largest, -self.position):
            first, second = other, self
        return Extent(
            min(self.early_minimum, other.early_minimum),
            max(self.early_maximum, other.early_maximum),
            first.largest,
            first.position,
            max(first.runner_up, second.largest),
        )
