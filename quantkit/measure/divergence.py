"""Kullback-Leibler divergence of class scores from FP32's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

SMALLEST = 1e-30  # a share of 0 would diverge without end
NEAR_ONE = 1e-3  # by which shares may miss a sum of 1


def divergence(reference: npt.NDArray[Any], own: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return Σ p · ln(p / q) of each row, in nats: by how much the shares q diverge from FP32's p.

    Scores become shares by Softmax, unless FP32's are shares already.

    Args:
        reference: FP32's scores, (N, classes).
        own: The scores to compare, (N, classes).

    Returns:
        The divergence, (N,) float64, 0 or more; Inf for a row that is not finite.
    """
    wide, other = reference.astype(np.float64), own.astype(np.float64)
    with np.errstate(all="ignore"):
        if (wide >= 0).all() and np.allclose(wide.sum(axis=1), 1, atol=NEAR_ONE):
            p, q = (np.log(np.maximum(values, SMALLEST)) for values in (wide, other))
        else:
            p, q = wide, other
        p, q = (values - _log_sum(values) for values in (p, q))
        found = (np.exp(p) * (p - q)).sum(axis=1)
    return np.where(np.isfinite(found), np.maximum(found, 0.0), np.inf)


def _log_sum(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return ln Σ exp(x) of each row, (N, 1)."""
    highest = values.max(axis=1, keepdims=True)
    found: npt.NDArray[np.float64] = highest + np.log(np.exp(values - highest).sum(axis=1, keepdims=True))
    return found
