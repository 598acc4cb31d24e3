"""Min-max: the range is exactly what was seen.

TensorRT's IInt8MinMaxCalibrator computes the same amax = max|x|.
"""

from __future__ import annotations

from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.histogram import Histogram


def minmax(histogram: Histogram) -> TensorRange:
    """The range that clips nothing: amax = max|x|, low and high the signed extremes. Serves both kinds of scheme."""
    return TensorRange.symmetric(histogram.largest, histogram.minimum, histogram.maximum)
