"""Entropy: the threshold that loses least information, by TensorRT's exact rule.

Migacz, "8-bit Inference with TensorRT", GTC 2017,
https://on-demand.gputechconf.com/gtc/2017/presentation/s7310-8-bit-inference-with-tensorrt.pdf, describes the idea. The
details here (bin 0, the outliers, the half bin) reproduce the thresholds of TensorRT 8.6's IInt8EntropyCalibrator2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantkit.core.histogram import BINS, Counts, Histogram

LEVELS = 128  # int8 magnitudes
EPSILON = 1e-12  # stands for Q = 0 where P > 0


def entropy(histogram: Histogram) -> float:
    """The amax with the least KL divergence between the clipped and the quantized distribution of |x|.

    The threshold is (i + 0.5) bin widths for the best i in 128..2048, so that amax can exceed the largest value seen by
    half a bin. The first of equal minima wins, as in TensorRT.
    """
    divergence = divergences(histogram.absolute)
    return float((LEVELS + int(np.argmin(divergence)) + 0.5) * histogram.width)


def divergences(counts: Counts) -> npt.NDArray[np.float64]:
    """KL(P‖Q) for each threshold i = 128..2048 over (2048,) counts of |x|; float64 of shape (1921,).

    P is the first i bins with everything beyond added to the last of them. Q is the first i bins *without* the beyond,
    merged into 128 levels, level(bin) = floor(bin * 128 / i), each level's sum spread evenly over its non-empty bins.
    Both are normalised. Bin 0 counts as much as bin 1, so that exact zeros do not dominate.

    All candidates are computed at once from cumulative sums: within one level every non-empty bin has the same Q, so
    Σ P log Q needs only each level's sum and its number of non-empty bins.
    """
    counts = counts.copy()
    counts[0] = counts[1]
    total = counts.sum()
    if total == 0:
        return np.zeros(BINS - LEVELS + 1)

    ends = np.arange(LEVELS, BINS + 1)
    mass = np.concatenate(([0], np.cumsum(counts)))
    filled = np.concatenate(([0], np.cumsum(counts > 0)))
    entropy_terms = np.concatenate(([0.0], np.cumsum(_x_log_x(counts / total))))

    # Level j of candidate i holds the bins from ceil(j * i / 128) to ceil((j + 1) * i / 128) - 1.
    edges = -(-np.arange(LEVELS + 1)[None, :] * ends[:, None] // LEVELS)
    level_mass = np.diff(mass[edges], axis=1)
    level_bins = np.diff(filled[edges], axis=1)
    kept = mass[ends]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_q = np.log(level_mass / (level_bins * kept[:, None]))
    cross = np.sum(np.where(level_mass > 0, level_mass * log_q, 0.0), axis=1)

    # The last bin of P carries the outliers too; where it was empty, its Q is the epsilon.
    last, beyond = counts[ends - 1], total - kept
    log_q_last = np.where(last > 0, np.nan_to_num(log_q[:, -1]), np.log(EPSILON))
    cross += beyond * log_q_last
    own = entropy_terms[ends - 1] + _x_log_x((last + beyond) / total)
    divergence = own - cross / total
    divergence[kept == 0] = np.inf
    return np.asarray(divergence)


def _x_log_x(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(x > 0, x * np.log(np.where(x > 0, x, 1.0)), 0.0)
