"""Intervals and paired tests of figures that are no means over samples, by resampling (Efron, 1979)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Change, Interval

RESAMPLES = 500
SEED = 0
AT_ONCE = 1 << 20  # rows of draws that are held together
Floats = npt.NDArray[np.float64]


def resamples(count: int) -> npt.NDArray[np.float32]:
    """Return how often each of N samples is drawn in each of RESAMPLES draws of N with replacement, (RESAMPLES, N)."""
    drawn = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    return drawn.astype(np.float32)


def resampled_rows(count: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the samples of each of RESAMPLES draws of N with replacement, some draws at once: (R, N)."""
    random, at_once = np.random.default_rng(SEED), max(1, AT_ONCE // count)
    for start in range(0, RESAMPLES, at_once):
        yield random.integers(0, count, (min(at_once, RESAMPLES - start), count))


def resampled_interval(value: float, drawn: Floats) -> Interval:
    """Return a figure with the percentile interval of its resamples, which includes it."""
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size < RESAMPLES // 2:
        return Interval(value=value)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(value=value, low=min(float(low), value), high=max(float(high), value))


def resampled_change(losses: Floats, lost: int, won: int) -> Change:
    """Return the paired change of a figure.

    Args:
        losses: By how much the figure is worse than FP32's in each resample, (RESAMPLES,).
        lost: The number of samples that became worse.
        won: The number of samples that became better.

    Returns:
        The change with the percentile interval of the losses, and twice the share of resamples on the rarer side of 0.
    """
    losses = losses[np.isfinite(losses)]
    if not losses.size or not losses.any():
        return Change(lost=lost, won=won, low=0.0, high=0.0, p_value=1.0)
    low, high = np.percentile(losses, [2.5, 97.5])
    side = min(int((losses <= 0).sum()), int((losses >= 0).sum()))
    p_value = min(1.0, 2 * (side + 1) / (len(losses) + 1))
    return Change(lost=lost, won=won, low=float(low), high=float(high), p_value=p_value)
