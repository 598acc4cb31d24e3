"""The information lost by clipping a histogram and merging its bins into levels, for every threshold at once.

Migacz, "8-bit Inference with TensorRT", GTC 2017,
https://on-demand.gputechconf.com/gtc/2017/presentation/s7310-8-bit-inference-with-tensorrt.pdf, describes the idea. The
details here (the outliers, the empty bins, the epsilon) reproduce the thresholds of TensorRT 8.6.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from quantkit.core.statistics.histogram import Counts

EPSILON = 1e-12  # stands for Q = 0 where P > 0
LOG_EPSILON = np.log(EPSILON)
LOG_ALMOST_1 = np.log1p(-1e-15)
MAX_RUN = 16  # bins of a level at most
BLOCK = 256  # windows worked out together
SLACK = 1e-9  # of a bound, far more than rounding

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


def divergences(counts: Counts, levels: int, narrowest: int, before: int = 0) -> Floats:
    """KL(P‖Q) for each window of the first i = ``narrowest``..n of (n,) int64 counts; float64 (n - narrowest + 1,).

    P is the first i bins with everything beyond added to the last of them, and ``before``, the number of values already
    clipped at the other end, to the first. Q is the first i bins *without* those, merged into ``levels`` levels,
    level(bin) = floor(bin * levels / i), each level's sum spread evenly over its non-empty bins. Both are normalised.
    A window without values diverges infinitely. n is at most 16 * ``levels``, ``narrowest`` at least ``levels``.
    """
    return _Windows(counts, levels, narrowest, before).divergences(0)


def best_window(counts: Counts, levels: int, narrowest: int, before: int = 0) -> int:
    """The i with the least of :func:`divergences`, the first of equals, without working all of them out.

    With all bins but the last seen as one, P and Q diverge by no more than they do in full. From the widest window on,
    the search ends where that bound exceeds the least divergence found: every narrower window clips too much.
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
    """The index of the first minimum; what differs by rounding alone is equal."""
    return int((divergence <= divergence.min() + 1e-12).argmax())


class _Windows:
    """The windows of :func:`divergences`, of which ``bound`` is (windows,) float64, no more than each diverges.

    Within one level every non-empty bin has the same Q, so Σ P log Q needs only each level's sum and its number of
    non-empty bins; and the levels of all windows are drawn from few distinct runs of bins, so each logarithm is
    taken once.
    """

    def __init__(self, counts: Counts, levels: int, narrowest: int, before: int) -> None:
        self._levels, self._narrowest, n = levels, narrowest, len(counts)
        # Below each edge: values, and bins with values; no more of either beyond the last bin.
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
        # What does not depend on the levels, but for those of the first and the last bin.
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
        """log(mass / bins with values) of the bins in each [start, stop); zero where there are none."""
        mass, filled = self._mass[stop] - self._mass[start], self._filled[stop] - self._filled[start]
        log_mean: Floats = np.log(np.maximum(mass / np.maximum(filled, 1.0), 1.0))
        return log_mean

    def divergences(self, start: int, stop: int | None = None) -> Floats:
        """Those of the windows in [start, stop), counted from the narrowest."""
        rest: Floats = self._rest[start:stop]
        first = self._narrowest + start
        last = first + len(rest) - 1
        for length in range(first // self._levels, -(-last // self._levels) + 1):
            self._merge(length)
        runs = _runs_of_windows(self._levels)[first - self._levels : last + 1 - self._levels]
        merged: Floats = np.einsum("ij->i", self._merged.take(runs, mode="clip"))
        return rest - merged / self._total

    def _merge(self, length: int) -> None:
        """Work out mass * log(mass / bins with values) of all runs of ``length`` bins, once."""
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
    """Where the runs of each length start in one row of all runs that are a level of some window, and where it ends.

    Those of one length are in the order of their first bins; windows of up to (length + 1) * ``levels`` bins have such.
    """
    first = [0, 0]
    for length in range(1, MAX_RUN + 1):
        first.append(first[-1] + min((length + 1) * levels, MAX_RUN * levels + 1 - length))
    return first


@lru_cache(maxsize=4)
def _runs_of_windows(levels: int) -> Indices:
    """The runs of every window, in the row of :func:`_first_runs`: (windows, levels), row 0 is window ``levels``."""
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
