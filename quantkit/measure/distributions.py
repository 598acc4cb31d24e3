"""The sign test and Student's t, both by the incomplete beta function.

Of our own, because scipy takes 143 MB. ``tests/measure/test_distributions.py`` compares them with scipy's.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import count

Z95 = 1.959963984540054  # standard normal quantile of 0.975
_LARGE = 16.0  # from here on four terms of Stirling's series are exact in double precision
_TINY = 1e-300
_PRECISION = 1e-15


def sign_test(hits: int, total: int) -> float:
    """Return the two-sided p-value of the exact sign test: ``hits`` of ``total`` where either side is as likely.

    It is also that of McNemar's exact test (1947) for samples that changed.
    """
    fewer = min(hits, total - hits)
    return 1.0 if 2 * fewer >= total - 1 else 2 * incomplete_beta(total - fewer, fewer + 1, 0.5, 0.5)


def student_p_value(t: float, degrees: int) -> float:
    """Return the two-sided p-value of Student's t (1908) with ``degrees`` of freedom."""
    return incomplete_beta(degrees / 2, 0.5, *_shares(t, degrees))


@cache
def student_quantile(p_value: float, degrees: int) -> float:
    """Return the t above 0 whose two-sided p-value is ``p_value``, for p-values below 0.5.

    By Newton's method in log p against log t, which is almost a line for few degrees of freedom.
    """
    t = Z95
    for _ in range(50):
        p = student_p_value(t, degrees)
        slope = -2 * beta_power(degrees / 2, 0.5, *_shares(t, degrees)) / p  # of log p against log t
        step = math.exp((math.log(p_value) - math.log(p)) / slope)
        t *= step
        if abs(step - 1) < 4 * _PRECISION:
            break
    return t


def incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b).

    By the continued fraction of DiDonato and Morris, "Significant digit computation of the incomplete beta function
    ratios" (1992), evaluated by Lentz's method (Press et al., Numerical Recipes, 5.2).

    Args:
        a: First parameter, above 0.
        b: Second parameter, above 0.
        x: Upper limit, from 0 to 1.
        y: 1 - x, given because x may be so near to 1 that nothing of it is left.

    Returns:
        The value, from 0 to 1.
    """
    if x == 0 or y == 0:
        return float(y == 0)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, y, x)
    above = a * y - b * x
    fraction = upper = _from_zero(a * (above + 1) / (a + 1))
    lower = 0.0
    for step in count(1):  # about sqrt(max(a, b)) of them
        odd = a + 2 * step - 1
        factor = (a + step - 1) * (a + b + step - 1) * step * (b - step) * (x / odd) ** 2
        term = step + step * (b - step) * x / odd + (a + step) * (above + 1 + step * (1 + y)) / (odd + 2)
        lower = 1 / _from_zero(term + factor * lower)
        upper = _from_zero(term + factor / upper)
        fraction *= upper * lower
        if abs(upper * lower - 1) < _PRECISION:
            break
    return beta_power(a, b, x, y) / fraction


def beta_power(a: float, b: float, x: float, y: float) -> float:
    """Return x^a y^b / B(a, b), where y is 1 - x, without the cancellation of large logarithms.

    By the saddle-point expansion of Loader, "Fast and accurate computation of binomial probabilities" (2000).
    """
    total, above = a + b, a * y - b * x  # a less its mean, total * x
    exponent = _stirling_error(total) - _stirling_error(a) - _stirling_error(b)
    exponent -= _deviance(a, total * x, above) + _deviance(b, total * y, -above)
    return math.exp(exponent) * math.sqrt(a * b / (2 * math.pi * total))


def _shares(t: float, degrees: int) -> tuple[float, float]:
    """Return degrees / (degrees + t²) and its complement, also where t² is beyond double precision."""
    square = t * t
    return degrees / (degrees + square), 1 / (1 + degrees / square) if square else 0.0


def _stirling_error(x: float) -> float:
    """Return log Γ(x + 1) less Stirling's formula for it."""
    if x >= _LARGE:
        square = x * x
        return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / (1188 * square)) / square) / square) / square) / x
    return math.lgamma(x + 1) - (x + 0.5) * math.log(x) + x - 0.5 * math.log(2 * math.pi)


def _deviance(x: float, mean: float, above: float) -> float:
    """Return x log(x / mean) + mean - x, by its series where x is close ``above`` the mean."""
    ratio = above / (x + mean)
    if abs(ratio) >= 0.1:
        return x * math.log(x / mean) - above
    value, term, power = above * ratio, 2 * x * ratio, 1
    while True:
        term *= ratio * ratio
        power += 2
        more = value + term / power
        if more == value:
            return value
        value = more


def _from_zero(value: float) -> float:
    """Keep a divisor of Lentz's method away from zero."""
    return value if abs(value) > _TINY else _TINY
