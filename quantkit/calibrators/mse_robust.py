"""MSE for both kinds of scheme that ignores the outliers of a single strange image.

One image can hold values several times as large as any other's. They dominate the squared error and widen the range at
the cost of every other image. So if one image's max|x| is more than 1.5 times the runner-up's, values beyond the
runner-up's max|x| are left out of the error. With fewer than 100 images nothing is left out, because that would affect
more than one image in a hundred.

Far larger values widen the bins until all others share a few of them, which say nothing of an optimum. The range is
then what the other images reach.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quantkit.calibrators.mse import mse
from quantkit.calibrators.mse_asymmetric import mse_asymmetric
from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.histogram import Counts, Histogram

FEWEST = 100  # images
FEWEST_BINS = 16  # that the values of the other images must cover to be searched


def mse_robust(histogram: Histogram) -> TensorRange:
    """Return the amax of :func:`~quantkit.calibrators.mse.mse` for s8, and the low and high of
    :func:`~quantkit.calibrators.mse_asymmetric.mse_asymmetric` for u8, without the outliers of a strange image."""
    usual = without_strange_image(histogram)
    if usual is not histogram and histogram.extent.runner_up < FEWEST_BINS * histogram.width:
        return TensorRange.symmetric(histogram.extent.runner_up, usual.minimum, usual.maximum)
    ends = mse_asymmetric(usual)
    return TensorRange(mse(usual).amax, ends.low, ends.high)


def without_strange_image(histogram: Histogram) -> Histogram:
    """Return the histogram without values beyond the runner-up's max|x| if one image is strange; else unchanged."""
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
