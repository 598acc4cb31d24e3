"""The ends with the least expected squared error, for both kinds of scheme, whatever one strange image holds.

An image unlike all others can hold values several times as large as any other's. The squared error of a method that
sees them is made by them alone, and widens the range at the cost of every other image. So where one image reaches more
than 1.5 times as far as the runner-up, what lies beyond the runner-up's largest value is left out of the error. Of
fewer than 100 images one is no rarity: leaving it out would cut more than one image in a hundred.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quantkit.calibrators.mse import mse
from quantkit.calibrators.mse_asymmetric import mse_asymmetric
from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.histogram import Counts, Histogram

FEWEST = 100  # images


def mse_robust(histogram: Histogram) -> TensorRange:
    """amax as :func:`~quantkit.calibrators.mse.mse` finds it for s8, low and high as
    :func:`~quantkit.calibrators.mse_asymmetric.mse_asymmetric` does for u8."""
    usual = without_strange_image(histogram)
    ends = mse_asymmetric(usual)
    return TensorRange(mse(usual).amax, ends.low, ends.high)


def without_strange_image(histogram: Histogram) -> Histogram:
    """The histogram up to what a second image reaches, if one image reaches 1.5 times as far; else as it is."""
    extent = histogram.extent
    if histogram.samples < FEWEST or extent.runner_up <= 0 or not extent.is_strange:
        return histogram
    bound = extent.runner_up
    last = int(np.ceil(bound / histogram.width))
    return replace(
        histogram,
        negative=_up_to(histogram.negative, last),
        positive=_up_to(histogram.positive, last),
        minimum=max(histogram.minimum, -bound),
        maximum=min(histogram.maximum, bound),
    )


def _up_to(counts: Counts, last: int) -> Counts:
    kept = counts.copy()
    kept[last:] = 0
    return kept
