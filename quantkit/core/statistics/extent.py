"""The images that decide a tensor's range, for warnings if only a few do."""

from __future__ import annotations

import math
from dataclasses import dataclass

STRANGE = 1.5  # times the runner-up's max|x|; beyond this, one image is unlike all others and decides the range
LATE = 0.1  # share of the images; the last ones should not widen a range any more


@dataclass(frozen=True)
class Extent:
    """Extremes over the first nine tenths of the images, and the two largest max|x|. Merging is exact.

    Attributes:
        early_minimum: The minimum over the first nine tenths of the images.
        early_maximum: The maximum over the first nine tenths of the images.
        largest: The largest max|x| of an image.
        position: The number of that image among the chosen ones; the first of equals.
        runner_up: The largest max|x| of all other images.
    """

    early_minimum: float = math.inf
    early_maximum: float = -math.inf
    largest: float = -1.0
    position: int = -1
    runner_up: float = -1.0

    @classmethod
    def of(cls, minimum: float, maximum: float, position: int, samples: int) -> Extent:
        """Make the extent of one image.

        Args:
            minimum: The minimum of the image.
            maximum: The maximum of the image.
            position: The number of the image among the chosen ones.
            samples: The number of chosen images.

        Returns:
            The extent.
        """
        early = (minimum, maximum) if position < samples - max(int(samples * LATE), 1) else (math.inf, -math.inf)
        return cls(*early, max(-minimum, maximum), position)

    @property
    def is_strange(self) -> bool:
        """True if the max|x| of one image is more than 1.5 times that of any other."""
        return self.runner_up >= 0 and self.largest > STRANGE * self.runner_up

    def covers(self, minimum: float, maximum: float) -> bool:
        """True if an image with these extremes changes nothing, whatever its position."""
        return (
            self.early_minimum <= minimum and self.early_maximum >= maximum and max(-minimum, maximum) <= self.runner_up
        )

    def merged(self, other: Extent) -> Extent:
        """Merge the extents of two sets of images."""
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
