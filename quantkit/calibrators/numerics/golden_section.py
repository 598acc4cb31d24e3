"""Golden-section search for the minimum of a function of one variable.

Kiefer, "Sequential minimax search for a maximum", Proceedings of the American Mathematical Society 4 (1953), 502-506,
https://doi.org/10.1090/S0002-9939-1953-0055639-3.
"""

from __future__ import annotations

from collections.abc import Callable

GOLDEN = (5**0.5 - 1) / 2


def golden_section(
    function: Callable[[float], float], low: float, high: float, tolerance: float
) -> tuple[float, float]:
    """Search for the minimum of a function, with one evaluation per step.

    If the function has several minima in the bracket, the search finds one of them.

    Args:
        function: The function.
        low: The lower end of the bracket.
        high: The upper end of the bracket.
        tolerance: The width of the bracket at which the search ends.

    Returns:
        The best point tried, and the function's value there.
    """
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    best = min((at_left, left), (at_right, right))
    while high - low > tolerance:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = function(left)
            best = min(best, (at_left, left))
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = function(right)
            best = min(best, (at_right, right))
    return best[1], best[0]
