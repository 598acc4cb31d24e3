"""95 % confidence intervals of shares and means."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Interval
from quantkit.measure.distributions import Z95, student_quantile

CONFIDENCE = 0.95


def wilson_interval(hits: int, total: int) -> Interval:
    """Return hits / total with its Wilson score interval (Wilson 1927). Raises ValueError if ``total`` is 0."""
    if total == 0:
        raise ValueError("there is no share of 0 samples")
    share, square = hits / total, Z95**2
    center = (hits + square / 2) / (total + square)
    half = Z95 * math.sqrt(hits * (1 - share) + square / 4) / (total + square)
    low, high = center - half if hits else 0.0, center + half if hits < total else 1.0
    return Interval(value=share, low=low, high=high)


def mean_interval(values: npt.NDArray[np.float64]) -> Interval:
    """Return the mean of (N,) values with Student's interval; a single value has no interval."""
    mean = float(values.mean())
    error = standard_error(values)
    if error is None:
        return Interval(value=mean)
    half = student(len(values)) * error
    return Interval(value=mean, low=mean - half, high=mean + half)


def standard_error(values: npt.NDArray[np.float64]) -> float | None:
    """Return the standard error of the mean of (N,) values; None for fewer than two values."""
    return float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else None


def student(count: int) -> float:
    """Return the half-width of the interval of a mean of ``count`` values, in standard errors."""
    return student_quantile(1 - CONFIDENCE, count - 1)


def clipped(interval: Interval, least: float = 0.0) -> Interval:
    """Return the interval of a figure that lies between ``least`` and 1, such as a share."""
    low = None if interval.low is None else max(interval.low, least)
    return Interval(value=interval.value, low=low, high=None if interval.high is None else min(interval.high, 1.0))
