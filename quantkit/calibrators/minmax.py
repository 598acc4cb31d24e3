"""Min-max: the range covers exactly the values seen.

TensorRT's IInt8MinMaxCalibrator computes the same amax = max|x|.
"""

from __future__ import annotations

from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.histogram import Histogram


def minmax(histogram: Histogram) -> TensorRange:
    """Return the range that clips nothing: amax = max|x|, and the signed extremes as low and high."""
    return TensorRange.symmetric(histogram.largest, histogram.minimum, histogram.maximum)
