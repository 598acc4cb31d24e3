"""Min-max: the range is exactly what was seen.

TensorRT's IInt8MinMaxCalibrator computes the same amax = max|x|.
"""

from __future__ import annotations

from quantkit.core.histogram import Histogram


def minmax(histogram: Histogram) -> float:
    """The amax that clips nothing."""
    return histogram.largest
