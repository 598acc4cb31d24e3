"""Both halves of a histogram as one row of bins, for methods that treat each end separately."""

from __future__ import annotations

import numpy as np

from quantkit.core.statistics.histogram import BINS, Counts, Histogram, folded

ZERO = BINS  # the edge at x = 0 has BINS bins on either side


def signed_counts(histogram: Histogram) -> Counts:
    """Return the counts from -2048 to +2048 bin widths, int64 of shape (4096,); bin 2048 is the first with x >= 0."""
    return np.concatenate((folded(histogram.negative)[::-1], folded(histogram.positive)))
