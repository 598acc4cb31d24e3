"""95 % confidence intervals of shares and means."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Interval

CONFIDENCE = 0.95


def wilson_interval(hits: int, total: int) -> Interval:
    """Share of hits with its Wilson score interval (Wilson 1927); ValueError for an empty total."""
    from scipy.stats import binomtest

    bounds = binomtest(hits, total).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return Interval(value=hits / total, low=float(bounds.low), high=float(bounds.high))


def mean_interval(values: npt.NDArray[np.float64]) -> Interval:
    """The mean of (N,) values with Student's interval; a single value has none."""
    mean = float(values.mean())
    error = standard_error(values)
    if error is None:
        return Interval(value=mean)
    half = student(len(values)) * error
    return Interval(value=mean, low=mean - half, high=mean + half)


def standard_error(values: npt.NDArray[np.float64]) -> float | None:
    """Of the mean of (N,) values; None for fewer than two."""
    return float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else None


def student(count: int) -> float:
    """How many standard errors the interval of a mean of ``count`` values reaches to either side."""
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, count - 1))
