"""Entropy: the threshold that loses the least information, by TensorRT's exact rule.

Migacz, "8-bit Inference with TensorRT", GTC 2017,
https://on-demand.gputechconf.com/gtc/2017/presentation/s7310-8-bit-inference-with-tensorrt.pdf, describes the idea. The
details (bin 0, the outliers, the half bin) reproduce the thresholds of TensorRT 8.6's IInt8EntropyCalibrator2.
"""

from __future__ import annotations

from quantkit.calibrators.minmax import minmax
from quantkit.calibrators.numerics.divergence import best_window
from quantkit.core.ranges import LEVELS, TensorRange
from quantkit.core.statistics.histogram import Histogram

MAGNITUDES = LEVELS + 1  # of int8, with zero


def entropy(histogram: Histogram) -> TensorRange:
    """Return the amax with the least KL divergence between the clipped and the quantized distribution of |x|.

    The threshold is (i + 0.5) bin widths for the best i in 128..2048, so amax can exceed the largest value by half a
    bin. The first of equal minima wins, as in TensorRT. Bin 0 gets the count of bin 1, so that exact zeros do not
    dominate. If that leaves no counts, the range is :func:`minmax`.
    """
    counts = histogram.absolute
    counts[0] = counts[1]
    if not counts.any():
        return minmax(histogram)
    best = best_window(counts, MAGNITUDES, MAGNITUDES)
    return TensorRange.symmetric((best + 0.5) * histogram.width, histogram.minimum, histogram.maximum)
