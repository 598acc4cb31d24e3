"""Two-sided percentile: clip the same share of values at each end of the signed distribution.

The quantiles are those of ``numpy.percentile``; onnxruntime's PercentileCalibrater splits the share like this if its
option ``symmetric`` is off, https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/python/tools/quantization/calibrate.py.
See :mod:`quantkit.calibrators.percentile` for the papers.
"""

from __future__ import annotations

from quantkit.calibrators.minmax import minmax
from quantkit.calibrators.numerics.signed import ZERO, signed_counts
from quantkit.calibrators.percentile import DEFAULT_PERCENTILE, check_percent, quantile
from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.histogram import Histogram


def percentile_asymmetric(histogram: Histogram, percent: float = DEFAULT_PERCENTILE) -> TensorRange:
    """Return the range with (100 - percent) / 2 % of the values below it and as many above, linear inside bins.

    It never exceeds the values seen and is stretched to include zero. If so few values differ from zero that the range
    would be empty, it is :func:`minmax`. Raises ValueError unless 50 <= percent <= 100.
    """
    check_percent(percent)
    counts = signed_counts(histogram)
    share = (1 - percent / 100) / 2
    # The upper end is counted from above, so that the two ends of a mirrored distribution mirror each other to the bit.
    low = (quantile(counts, share) - ZERO) * histogram.width
    high = (ZERO - quantile(counts[::-1], share)) * histogram.width
    low, high = max(low, histogram.minimum), min(high, histogram.maximum)
    if low >= 0 >= high:
        return minmax(histogram)
    return TensorRange.asymmetric(low, high)
