"""The exponential moving average of a tensor's per-image extremes, with exact merging."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

# Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018),
# https://arxiv.org/abs/1712.05877, section 3.1, average ranges like this; 0.01 is the averaging constant of PyTorch's
# MovingAverageMinMaxObserver.
AVERAGING = 0.01
FRACTION_BITS = 200  # weighted values are integers in units of 2^-200, because float sums depend on their order


@dataclass(frozen=True)
class MovingExtremes:
    """Weighted sums of each image's minimum and maximum, and of the weights, in units of 2^-200.

    An average updated image by image, ``average += 0.01 * (x - average)``, gives image k of n a fixed weight. Because
    the sums are integers, the parts of a divided set give exactly the average of the whole.
    """

    low: int = 0
    high: int = 0
    weight: int = 0

    @classmethod
    def of(cls, minimum: float, maximum: float, weight: float) -> MovingExtremes:
        """Return the contribution of one image, with the weight from :func:`weight_of`."""
        return cls(_fixed(weight * minimum), _fixed(weight * maximum), _fixed_weight(weight))

    def __add__(self, other: MovingExtremes) -> MovingExtremes:
        return MovingExtremes(self.low + other.low, self.high + other.high, self.weight + other.weight)

    @property
    def minimum(self) -> float:
        """The average minimum; NaN before the first image."""
        return self.low / self.weight if self.weight else math.nan

    @property
    def maximum(self) -> float:
        """The average maximum; NaN before the first image."""
        return self.high / self.weight if self.weight else math.nan


def weight_of(position: int, samples: int) -> float:
    """Return the weight of image number ``position`` of ``samples`` in the average."""
    return (1 - AVERAGING) ** (samples - 1 - position) * (AVERAGING if position else 1.0)


@lru_cache(maxsize=1 << 10)
def _fixed_weight(weight: float) -> int:
    """An image has one weight for all of its tensors."""
    return _fixed(weight)


def _fixed(value: float) -> int:
    return round(math.ldexp(value, FRACTION_BITS))
