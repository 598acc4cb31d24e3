"""Both halves of a histogram as one row of bins, for the methods that look at each end by itself."""

from __future__ import annotations

import numpy as np

from quantkit.core.statistics.histogram import BINS, Counts, Histogram, folded

ZERO = BINS  # the edge at x = 0 has BINS bins on either side


def signed_counts(histogram: Histogram) -> Counts:
    """Counts from -2048 to +2048 bin widths, int64 of shape (4096,); bin 2048 is the first that holds x >= 0."""
    return np.concatenate((folded(histogram.negative)[::-1], folded(histogram.positive)))
