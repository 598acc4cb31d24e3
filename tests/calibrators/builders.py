"""Histograms made straight from values."""

from __future__ import annotations

import numpy as np

from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.histogram import BINS, DEAD_WIDTH, Histogram


def histogram_of(values: np.ndarray) -> Histogram:
    """What a pass over one batch of ``values`` counts."""
    values = values.astype(np.float32)
    width = float(np.abs(values).max()) / BINS or DEAD_WIDTH
    bins = np.minimum(np.abs(values / np.float32(width)).astype(int), BINS)
    negative, positive = (np.bincount(bins[side], minlength=BINS + 1) for side in (values < 0, values >= 0))
    return Histogram(negative, positive, width, float(values.min()), float(values.max()))


RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal(200_000)
DISTRIBUTIONS = {
    "normal": NORMAL,
    "relu": np.maximum(NORMAL, 0),
    "laplace": RNG.laplace(size=200_000),
    "outlier": np.append(NORMAL, 60.0),
    "uniform": RNG.uniform(0, 6, 200_000),
    "silu": 4 * NORMAL / (1 + np.exp(-4 * NORMAL)),
    "shifted": NORMAL + RNG.exponential(2, 200_000),
    "negative": -np.abs(NORMAL),
}
ONE_SIDED = ("relu", "uniform", "negative")
SKEWED = ("silu", "shifted")


def symmetric_error(values: np.ndarray, found: TensorRange) -> float:
    """Mean squared error of ``values`` in int8 with scale amax / 127."""
    scale = found.amax / 127
    return float(np.mean((np.clip(np.rint(values / scale), -127, 127) * scale - values) ** 2))


def affine_error(values: np.ndarray, found: TensorRange) -> float:
    """Mean squared error of ``values`` in uint8 with a scale and a zero-point."""
    scale = (found.high - found.low) / 255
    zero_point = round(-found.low / scale)
    levels = np.clip(np.rint(values / scale) + zero_point, 0, 255)
    return float(np.mean(((levels - zero_point) * scale - values) ** 2))
