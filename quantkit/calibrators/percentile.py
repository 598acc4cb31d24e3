"""Percentile: clip a fixed share of all values, the largest magnitudes.

McKinstry et al., "Discovering Low-Precision Networks Close to Full-Precision Networks for Efficient Inference" (2018),
https://arxiv.org/abs/1809.04191; Wu et al., "Integer Quantization for Deep Learning Inference" (2020),
https://arxiv.org/abs/2004.09602, found 99.99 % to serve most networks.
"""

from __future__ import annotations

import numpy as np

from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.histogram import Counts, Histogram

DEFAULT_PERCENTILE = 99.99
LEAST_PERCENTILE = 50


def percentile(histogram: Histogram, percent: float = DEFAULT_PERCENTILE) -> TensorRange:
    """Return the amax that ``percent`` % of |x| do not exceed, interpolated linearly inside its bin.

    It never exceeds the largest value seen. With fewer than 1 / (1 - percent/100) values it is about that value. Raises
    ValueError unless 50 <= percent <= 100.
    """
    check_percent(percent)
    amax = quantile(histogram.absolute, percent / 100) * histogram.width
    return TensorRange.symmetric(min(amax, histogram.largest), histogram.minimum, histogram.maximum)


def check_percent(percent: float) -> None:
    """Raise ValueError unless 50 <= percent <= 100. Less clips most values, and means that a share was given."""
    if not LEAST_PERCENTILE <= percent <= 100:
        raise ValueError(
            f"{percent} is not from {LEAST_PERCENTILE} to 100: it is the percent of the values that are kept, "
            "such as 99.99, and not a share such as 0.9999"
        )


def quantile(counts: Counts, share: float) -> float:
    """Return the point below which ``share`` (0..1) of the (n,) counts lies, in bins from the first edge."""
    cumulative = np.cumsum(counts)
    wanted = cumulative[-1] * share
    index = int(np.searchsorted(cumulative, wanted))
    below = cumulative[index - 1] if index else 0
    inside = (wanted - below) / (cumulative[index] - below) if counts[index] else 0.0
    return float(index + inside)
