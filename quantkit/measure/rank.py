"""Rank correlation, with bootstrap intervals over samples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Change, Interval
from quantkit.measure.bootstrap import resampled_change, resampled_interval, resampled_rows

Floats = npt.NDArray[np.float64]
FEWEST = 4  # samples for an interval


def spearman(first: Floats, second: Floats) -> float | None:
    """Return Spearman's rank correlation (1904) of (N,) values, ties by their mean rank; None if one is constant."""
    found = float(_correlations(first[None], second[None])[0])
    return found if np.isfinite(found) else None


def spearman_interval(values: Floats, scores: Floats) -> Interval | None:
    """Return the rank correlation with the 95 % interval of a percentile bootstrap over samples (Efron 1979).

    Args:
        values: The model's values, (N,).
        scores: What they should be ranked like, (N,).

    Returns:
        The correlation, with no interval for fewer than FEWEST samples; None if it is not defined.
    """
    value = spearman(values, scores)
    if value is None or len(values) < FEWEST:
        return None if value is None else Interval(value=value)
    drawn = np.concatenate([_correlations(values[rows], scores[rows]) for rows in resampled_rows(len(values))])
    return resampled_interval(value, drawn)


def spearman_change(values: Floats, reference: Floats, scores: Floats) -> Change | None:
    """Return the change of the rank correlation from FP32's on the same samples, by a paired bootstrap.

    Args:
        values: The model's values, (N,).
        reference: FP32's values, (N,).
        scores: What both should be ranked like, (N,).

    Returns:
        The change; ``lost`` and ``won`` count the samples whose rank moved away from and towards that of their score.
        None if a correlation is not defined, or for fewer than FEWEST samples.
    """
    own, exact = spearman(values, scores), spearman(reference, scores)
    if own is None or exact is None or len(values) < FEWEST:
        return None
    losses = [
        _correlations(reference[rows], scores[rows]) - _correlations(values[rows], scores[rows])
        for rows in resampled_rows(len(values))
    ]
    wanted = _ranks(scores[None])[0]
    far = np.abs(_ranks(values[None])[0] - wanted) - np.abs(_ranks(reference[None])[0] - wanted)
    return resampled_change(np.concatenate(losses), int((far > 0).sum()), int((far < 0).sum()))


def _correlations(first: Floats, second: Floats) -> Floats:
    """Return the rank correlation of each row of (R, N) values, (R,); NaN where one is constant."""
    a, b = _ranks(first), _ranks(second)
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        found: Floats = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return found


def _ranks(values: Floats) -> Floats:
    """Return the rank of each value in its row of (R, N), from 1, ties by their mean rank; NaN in rows with a NaN."""
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    ends = np.ones((len(values), values.shape[1] + 1), np.bool_)  # True where one run of equal values meets the next
    ends[:, 1:-1] = ordered[:, 1:] != ordered[:, :-1]
    places = np.arange(ends.shape[1])
    first = np.maximum.accumulate(np.where(ends[:, :-1], places[:-1], 0), axis=1)
    beyond = np.minimum.accumulate(np.where(ends[:, :0:-1], places[:0:-1], places[-1]), axis=1)[:, ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + beyond + 1) / 2, axis=1)
    ranks[np.isnan(ordered[:, -1])] = np.nan  # NaN comes last
    return ranks
