"""Paired tests: the change from FP32 on the same samples, and the probability that it is chance."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Change
from quantkit.measure.distributions import Z95, sign_test, student_p_value
from quantkit.measure.intervals import standard_error, student


def change(lost: int, won: int, total: int) -> Change:
    """Return the change in the share of right answers.

    The interval of the drop is that of Agresti and Min (2005): a Wald interval with half a sample added to every cell.
    The p-value is that of the exact McNemar test (1947).

    Args:
        lost: The number of samples that FP32 has right and this model has wrong.
        won: The number of samples that FP32 has wrong and this model has right.
        total: The number of all samples.

    Returns:
        The change, with the drop's interval as a share.
    """
    different, more = lost + won, total + 2
    center = (lost - won) / more
    error = Z95 * math.sqrt(max(different + 1 - (lost - won) ** 2 / more, 0.0)) / more
    drop = (lost - won) / total
    p_value = sign_test(lost, different)
    low, high = max(min(center - error, drop), -1.0), min(max(center + error, drop), 1.0)
    return Change(lost=lost, won=won, low=low, high=high, p_value=p_value)


def mean_change(losses: npt.NDArray[np.float64]) -> Change:
    """Return the change of a mean over samples.

    Interval and p-value are those of Student's paired test (1908). If all losses are equal there is nothing to test:
    p is 1 if no value changed, else 0.

    Args:
        losses: How much worse each sample's value is than FP32's, (N,); negative if it is better.

    Returns:
        The change, in the metric's own units.
    """
    mean = float(losses.mean())
    error = standard_error(losses)
    low = high = mean
    p_value = 1.0 if not losses.any() else 0.0
    if error:
        half = student(len(losses)) * error
        low, high, p_value = mean - half, mean + half, student_p_value(mean / error, len(losses) - 1)
    elif len(losses) == 1:
        p_value = 1.0
    return Change(lost=int((losses > 0).sum()), won=int((losses < 0).sum()), low=low, high=high, p_value=p_value)
