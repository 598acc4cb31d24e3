"""What changed against FP32 on the same samples, and whether chance alone would change as much."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Change
from quantkit.measure.intervals import standard_error, student

Z95 = 1.959963984540054


def change(lost: int, won: int, total: int) -> Change:
    """Of right answers: ``lost`` samples FP32 had right and this model has not, ``won`` the other way round.

    The drop's interval is after Agresti and Min (2005), a Wald interval with half a sample added to every cell; the
    p-value is the exact McNemar test's (1947).
    """
    from scipy.stats import binomtest

    different, more = lost + won, total + 2
    center = (lost - won) / more
    error = Z95 * math.sqrt(max(different + 1 - (lost - won) ** 2 / more, 0.0)) / more
    drop = (lost - won) / total
    p_value = float(binomtest(lost, different).pvalue) if different else 1.0
    low, high = max(min(center - error, drop), -1.0), min(max(center + error, drop), 1.0)
    return Change(lost=lost, won=won, low=low, high=high, p_value=p_value)


def mean_change(losses: npt.NDArray[np.float64]) -> Change:
    """Of a mean: how much worse each sample's value is than FP32's, (N,), negative where it is better.

    Interval and p-value are those of Student's paired test (1908). Without any spread nothing is tested: p is 1 where
    no value changed, else 0.
    """
    mean = float(losses.mean())
    error = standard_error(losses)
    low = high = mean
    p_value = 1.0 if not losses.any() else 0.0
    if error:
        from scipy.stats import ttest_1samp

        half = student(len(losses)) * error
        low, high, p_value = mean - half, mean + half, float(ttest_1samp(losses, 0.0).pvalue)
    elif len(losses) == 1:
        p_value = 1.0
    return Change(lost=int((losses > 0).sum()), won=int((losses < 0).sum()), low=low, high=high, p_value=p_value)
