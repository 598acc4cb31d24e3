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
from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.histogram import Counts, Histogram

LEVELS = 256  # uint8


def entropy_asymmetric(histogram: Histogram) -> TensorRange:
    """The range with the least KL divergence between the clipped and the 256-level distribution of x.

    A window of signed bins is judged as in ``numerics.divergence.divergences``: outliers go to its
    end bins, and the bin that holds x = 0 counts as much as the next one above it, so that exact zeros do not dominate.
    Windows hold zero and more than 256 bins with values, for merging fewer into 256 levels says nothing (TensorRT's
    rule, which tries them, puts the threshold of values in 2..3 at 2). First the upper end is searched with all
    negative bins in the window, then the lower end with the upper one found, then the upper one again if the lower one
    moved; an end without values stays at zero. Every bin edge is tried, the narrowest of equal windows wins, and ends
    never lie beyond what was seen.

    Where no more bins are filled than there are levels, the range is :func:`minmax`.
    """
    counts = signed_counts(histogram)
    counts[ZERO] = counts[ZERO + 1]
    (filled,) = np.nonzero(counts > 0)
    if filled.size <= LEVELS:
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
    """How many of ``counts``, from the first on, the best window holds: at least ``least``."""
    (filled,) = np.nonzero(counts > 0)
    if filled.size <= LEVELS:
        return len(counts)
    return best_window(counts, LEVELS, max(least, int(filled[LEVELS]) + 1), clipped)
