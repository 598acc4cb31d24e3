"""The information that is lost by clipping a histogram and merging its bins into levels, for all thresholds at once.

Migacz, "8-bit Inference with TensorRT", GTC 2017,
https://on-demand.gputechconf.com/gtc/2017/presentation/s7310-8-bit-inference-with-tensorrt.pdf, describes the idea. The
details here (the outliers, the empty bins, the epsilon) reproduce the thresholds of TensorRT 8.6.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from quantkit.core.statistics.histogram import Counts

EPSILON = 1e-12  # replaces Q = 0 where P > 0
LOG_EPSILON = np.log(EPSILON)
LOG_ALMOST_1 = np.log1p(-1e-15)
MAX_RUN = 16  # largest number of bins in a level
BLOCK = 256  # windows computed together
SLACK = 1e-9  # added to a bound; far more than rounding errors

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


def divergences(counts: Counts, levels: int, narrowest: int, before: int = 0) -> Floats:
    """Return KL(P‖Q) for every window of the first i bins.

    P is the first i bins, with all values beyond added to the last of them and ``before`` added to the first. Q is the
    first i bins *without* these additions, merged into ``levels`` levels: level(bin) = floor(bin * levels / i), and
    each level's sum is spread evenly over its non-empty bins. Both are normalised. A window without values has an
    infinite divergence.

    Args:
        counts: int64 of shape (n,), where n is at most 16 * ``levels``.
        levels: The number of levels.
        narrowest: The smallest i; at least ``levels``.
        before: The number of values that are already clipped at the other end.

    Returns:
        float64 of shape (n - narrowest + 1,), for i = ``narrowest``..n.
    """
    return _Windows(counts, levels, narrowest, before).divergences(0)


def best_window(counts: Counts, levels: int, narrowest: int, before: int = 0) -> int:
    """Return the i with the least of :func:`divergences`, the first of equals, without computing all of them.

    The divergence is bounded from below by that of two bins: the last one, and all others merged. The search starts at
    the widest window and ends where this bound exceeds the least divergence found, because every narrower window clips
    too much. The parameters are those of :func:`divergences`.
    """
    windows = _Windows(counts, levels, narrowest, before)
    found = np.full(len(windows.bound), np.inf)
    possible, judged = 0, len(found)
    while possible < judged:
        start = max(possible, judged - BLOCK)
        found[start:judged] = windows.divergences(start, judged)
        judged = start
        possible = int((windows.bound <= found.min() + SLACK).argmax())
    return narrowest + first_least(found)


def first_least(divergence: Floats) -> int:
    """Return the index of the first minimum; values that differ only by rounding count as equal."""
    return int((divergence <= divergence.min() + 1e-12).argmax())


class _Windows:
    """The windows of :func:`divergences`; ``bound`` is a lower bound of each divergence, float64 of shape (windows,).

    Within one level every non-empty bin has the same Q, so Σ P log Q needs only each level's sum and its number of
    non-empty bins. The levels of all windows consist of few distinct runs of bins, so each logarithm is computed once.
    """

    def __init__(self, counts: Counts, levels: int, narrowest: int, before: int) -> None:
        self._levels, self._narrowest, n = levels, narrowest, len(counts)
        # The number of values, and of bins with values, below each edge; constant beyond the last bin.
        self._mass, self._filled = np.empty((2, MAX_RUN * levels + 1))
        for below, what in ((self._mass, counts), (self._filled, counts > 0)):
            below[0] = 0
            below[1 : n + 1] = what.cumsum()
            below[n + 1 :] = below[n]
        self._total = total = float(before + self._mass[-1])
        self._merged = np.empty(_first_runs(levels)[-1])
        self._lengths: set[int] = set()  # of the runs in _merged

        ends = np.arange(narrowest, n + 1)
        kept, last = self._mass[narrowest : n + 1], counts[narrowest - 1 :]
        beyond = self._mass[-1] - kept
        log_kept = np.log(np.maximum(kept, 1.0))
        log_last = np.where(last > 0, self._log_mean(ends - ends // levels, ends) - log_kept, LOG_EPSILON)
        # The terms that depend on no level but those of the first and the last bin.
        rest = beyond * log_last - kept * log_kept
        if before:
            log_first = self._log_mean(np.zeros_like(ends), -(-ends // levels)) - log_kept if counts[0] else LOG_EPSILON
            rest += before * log_first
        own = _x_log_x(counts / total)
        own[:1] = _x_log_x((counts[:1] + before) / total)
        p_last = (last + beyond) / total
        own_last = _x_log_x(p_last)
        below_last = np.concatenate(([0.0], own.cumsum()))[narrowest - 1 : n]
        self._rest: Floats = np.where(kept > 0, below_last + own_last - rest / total, np.inf)
        # The bound: the divergence of (last, all others).
        others, q_others = 1 - p_last, -np.expm1(np.minimum(log_last, LOG_ALMOST_1))
        self.bound: Floats = np.where(
            kept > 0, own_last - p_last * log_last + _x_log_x(others) - others * np.log(q_others), np.inf
        )

    def _log_mean(self, start: Indices, stop: Indices) -> Floats:
        """Return log(mass / bins with values) of the bins in each [start, stop); zero if there are no bins."""
        mass, filled = self._mass[stop] - self._mass[start], self._filled[stop] - self._filled[start]
        log_mean: Floats = np.log(np.maximum(mass / np.maximum(filled, 1.0), 1.0))
        return log_mean

    def divergences(self, start: int, stop: int | None = None) -> Floats:
        """Return the divergences of the windows in [start, stop), counted from the narrowest."""
        rest: Floats = self._rest[start:stop]
        first = self._narrowest + start
        last = first + len(rest) - 1
        for length in range(first // self._levels, -(-last // self._levels) + 1):
            self._merge(length)
        runs = _runs_of_windows(self._levels)[first - self._levels : last + 1 - self._levels]
        merged: Floats = np.einsum("ij->i", self._merged.take(runs, mode="clip"))
        return rest - merged / self._total

    def _merge(self, length: int) -> None:
        """Compute mass * log(mass / bins with values) of all runs of ``length`` bins, once."""
        if length in self._lengths:
            return
        self._lengths.add(length)
        start, stop = _first_runs(self._levels)[length : length + 2]
        count = stop - start
        mass = self._mass[length : length + count] - self._mass[:count]
        mean = self._filled[length : length + count] - self._filled[:count]
        np.maximum(mean, 1.0, out=mean)
        np.divide(mass, mean, out=mean)
        np.maximum(mean, 1.0, out=mean)  # an empty run, whose mass is zero
        np.log(mean, out=mean)
        np.multiply(mass, mean, out=self._merged[start:stop])


@lru_cache(maxsize=4)
def _first_runs(levels: int) -> list[int]:
    """Return the start of each length's runs, and the end, in a row of all runs that are a level of some window.

    Runs of one length are ordered by their first bins. They occur in windows of up to (length + 1) * ``levels`` bins.
    """
    first = [0, 0]
    for length in range(1, MAX_RUN + 1):
        first.append(first[-1] + min((length + 1) * levels, MAX_RUN * levels + 1 - length))
    return first


@lru_cache(maxsize=4)
def _runs_of_windows(levels: int) -> Indices:
    """Return the runs of every window as indices into the row of :func:`_first_runs`: (windows, levels).

    Row 0 is the window of ``levels`` bins.
    """
    # Level j of window i holds the bins from ceil(j * i / levels) to ceil((j + 1) * i / levels) - 1. With
    # i = length * levels + more, the first is length * j + ceil(j * more / levels).
    level = np.arange(levels + 1)
    shift = (level * level[:-1, None] + levels - 1) // levels
    longer = np.diff(shift, axis=1)
    first = np.array(_first_runs(levels))
    runs = np.empty((MAX_RUN, levels, levels), np.intp)
    for length, block in enumerate(runs, start=1):
        np.add(shift[:, :-1], length * level[:-1], out=block)
        block += longer * (first[min(length + 1, MAX_RUN)] - first[length]) + first[length]
    return runs.reshape(-1, levels)[: (MAX_RUN - 1) * levels + 1]


def _x_log_x(x: Floats) -> Floats:
    return x * np.log(np.maximum(x, 1e-300))
