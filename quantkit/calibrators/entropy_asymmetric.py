"""Entropy for asymmetric schemes: TensorRT's criterion, applied to each end of the signed distribution.

Migacz, "8-bit Inference with TensorRT", GTC 2017,
https://on-demand.gputechconf.com/gtc/2017/presentation/s7310-8-bit-inference-with-tensorrt.pdf, gives the criterion,
for |x| and int8. Its extension to unsigned affine grids is quantkit's own; no vendor defines one.
"""

from __future__ import annotations

import numpy as np

from quantkit.calibrators.minmax import minmax
from quantkit.calibrators.numerics.divergence import best_window
from quantkit.calibrators.numerics.signed import ZERO, signed_counts
from quantkit.core.ranges import STEPS, TensorRange
from quantkit.core.statistics.histogram import Counts, Histogram

VALUES = STEPS + 1  # of uint8


def entropy_asymmetric(histogram: Histogram) -> TensorRange:
    """Return the range with the least KL divergence between the clipped and the 256-level distribution of x.

    A window of signed bins is rated as in ``numerics.divergence.divergences``: outliers are added to its end bins. The
    bin that contains x = 0 gets the count of the next bin above it, so that exact zeros do not dominate.

    A window contains zero and more than 256 bins with values, because merging fewer into 256 levels measures nothing.
    (TensorRT's rule tries such windows, and puts the threshold of values in 2..3 at 2.) The search goes in three steps:
    the upper end with all negative bins in the window, the lower end with that upper end, and the upper end again if
    the lower end moved. An end without values stays at zero. Every bin edge is tried, and the narrowest of equal
    windows wins. The range never exceeds the values seen.

    If no more bins have values than there are levels, the range is :func:`minmax`.
    """
    counts = signed_counts(histogram)
    counts[ZERO] = counts[ZERO + 1]
    (filled,) = np.nonzero(counts > 0)
    if filled.size <= VALUES:
        return minmax(histogram)
    first, stop = min(int(filled[0]), ZERO), max(int(filled[-1]) + 1, ZERO)
    window = counts[first:stop]
    zero = ZERO - first
    low, high = 0, stop - first
    if high > zero:
        high = _width(window, zero, clipped=0)
    if zero > 0:
        low = high - _width(window[:high][::-1], high - zero, clipped=int(window[high:].sum()))
        if low > 0 and high > zero:
            high = low + _width(window[low:], zero - low, clipped=int(window[:low].sum()))
    return TensorRange.asymmetric(
        max((low - zero) * histogram.width, histogram.minimum), min((high - zero) * histogram.width, histogram.maximum)
    )


def _width(counts: Counts, least: int, clipped: int) -> int:
    """Return the width of the best window of ``counts`` that starts at the first bin; at least ``least`` bins."""
    (filled,) = np.nonzero(counts > 0)
    if filled.size <= VALUES:
        return len(counts)
    return best_window(counts, VALUES, max(least, int(filled[VALUES]) + 1), clipped)
