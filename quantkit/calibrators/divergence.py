"""The information lost by clipping a histogram and merging its bins into levels, for every threshold at once.

Migacz, "8-bit Inference with TensorRT", GTC 2017,
https://on-demand.gputechconf.com/gtc/2017/presentation/s7310-8-bit-inference-with-tensorrt.pdf, describes the idea. The
details here (the outliers, the empty bins, the epsilon) reproduce the thresholds of TensorRT 8.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from quantkit.core.histogram import Counts

EPSILON = 1e-12  # stands for Q = 0 where P > 0

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


def divergences(counts: Counts, levels: int, narrowest: int, before: int = 0) -> Floats:
    """KL(P‖Q) for each window of the first i = ``narrowest``..n of (n,) int64 counts; float64 (n - narrowest + 1,).

    P is the first i bins with everything beyond added to the last of them, and ``before``, the number of values already
    clipped at the other end, to the first. Q is the first i bins *without* those, merged into ``levels`` levels,
    level(bin) = floor(bin * levels / i), each level's sum spread evenly over its non-empty bins. Both are normalised.
    A window without values diverges infinitely. n is at most 16 * ``levels``, ``narrowest`` at least ``levels``.

    Within one level every non-empty bin has the same Q, so Σ P log Q needs only each level's sum and its number of
    non-empty bins; and the levels of all windows are drawn from few distinct runs of bins, so each logarithm is
    taken once.
    """
    runs = _runs(levels)
    windows = slice(narrowest - levels, len(counts) - levels + 1)
    ends = np.arange(narrowest, len(counts) + 1)
    total = before + int(counts.sum())
    mass = np.concatenate(([0], np.cumsum(counts)))
    filled = np.concatenate(([0], np.cumsum(counts > 0)))

    needed = int(np.searchsorted(runs.stop, len(counts), side="right"))
    start, stop = runs.start[:needed], runs.stop[:needed]
    run_mass = (mass[stop] - mass[start]).astype(np.float64)
    # log(mass / bins) of a run; an empty one counts nothing below, whatever stands here.
    log_mean = np.log(np.maximum(run_mass, 1.0)) - _LOG[filled[stop] - filled[start]]
    merged = np.take(run_mass * log_mean, runs.of_window[windows], mode="clip").sum(axis=1)

    kept = mass[ends]
    log_kept = np.log(np.maximum(kept, 1))
    last, beyond = counts[ends - 1], total - before - kept
    log_q_last = np.where(last > 0, log_mean[runs.of_window[windows, -1]] - log_kept, np.log(EPSILON))
    log_q_first = log_mean[runs.of_window[windows, 0]] - log_kept if counts[0] else np.log(EPSILON)
    cross = merged - kept * log_kept + beyond * log_q_last + before * log_q_first

    terms = _x_log_x(counts / total)
    terms[0] = _x_log_x((counts[:1] + before) / total)[0]
    own = np.concatenate(([0.0], np.cumsum(terms)))[ends - 1] + _x_log_x((last + beyond) / total)
    return np.where(kept > 0, own - cross / total, np.inf)


def first_least(divergence: Floats) -> int:
    """The index of the first minimum; what differs by rounding alone is equal."""
    return int(np.argmax(divergence <= divergence.min() + 1e-12))


@dataclass(frozen=True)
class _Runs:
    """The distinct runs of bins that are a level of some window, in the order in which they end.

    ``start``, ``stop``: (r,) bins of a run. ``of_window``: (windows, levels), the runs of window i = levels + row.
    """

    start: Indices
    stop: Indices
    of_window: Indices


MAX_RUN = 16  # bins
_LOG = np.log(np.maximum(np.arange(MAX_RUN + 1), 1))


@lru_cache(maxsize=4)
def _runs(levels: int) -> _Runs:
    ends = np.arange(levels, MAX_RUN * levels + 1)
    # Level j of window i holds the bins from ceil(j * i / levels) to ceil((j + 1) * i / levels) - 1.
    edges = (np.arange(levels + 1) * ends[:, None] + levels - 1) // levels
    key = edges[:, 1:] * (MAX_RUN + 1) + np.diff(edges, axis=1)
    present = np.bincount(key.ravel()) > 0
    stop, length = np.divmod(np.flatnonzero(present), MAX_RUN + 1)
    return _Runs(stop - length, stop, (np.cumsum(present) - 1)[key])


def _x_log_x(x: Floats) -> Floats:
    return x * np.log(np.where(x > 0, x, 1.0))
