"""Judges figures by a goal: whether they meet it, and which of two are better."""

from __future__ import annotations

import math
import re

from quantkit.core.errors import BadConfig
from quantkit.core.tuning import Goal, Measured

DEFAULT_DROP, DEFAULT_AGREEMENT = 0.005, 0.99
WITHIN = re.compile(r"(\d+(?:\.\d+)?) ?%-of-fp16")
BIT_EXACT = 1000.0  # dB that stand for no error at all
SAME = 1e-9


def goal_of(
    max_drop: float | None = None,
    min_sqnr: float | None = None,
    min_agreement: float | None = None,
    within: str | None = None,
    max_slowdown: float | None = None,
) -> Goal | None:
    """Make a goal of what users give.

    Args:
        max_drop: In points.
        min_sqnr: In dB.
        min_agreement: In percent.
        within: Such as "2%-of-fp16".
        max_slowdown: In percent.

    Returns:
        The goal; None if none is given.

    Raises:
        BadConfig: Several are given, or one makes no sense.
    """
    goals = {"max_drop": max_drop, "min_sqnr": min_sqnr, "min_agreement": min_agreement, "within": within}
    given = [name for name, value in goals.items() if value is not None]
    if len(given) > 1:
        raise BadConfig(f"{' and '.join(given)} are two goals.", "Give one of them.")
    for name, value, most in (
        ("max_drop", max_drop, 100.0),
        ("min_agreement", min_agreement, 100.0),
        ("min_sqnr", min_sqnr, 300.0),
        ("max_slowdown", max_slowdown, 1000.0),
    ):
        if value is not None and not 0 <= value <= most:
            raise BadConfig(f"{name} {value:g} makes no sense.", f"Give a number from 0 to {most:g}.")
    slowdown = None if max_slowdown is None else max_slowdown / 100
    if max_drop is not None:
        return Goal(kind="drop", bound=max_drop / 100, slowdown=slowdown)
    if min_sqnr is not None:
        return Goal(kind="sqnr", bound=min_sqnr, slowdown=slowdown)
    if min_agreement is not None:
        return Goal(kind="agreement", bound=min_agreement / 100, slowdown=slowdown)
    if within is not None:
        found = WITHIN.fullmatch(within.strip().lower())
        if found is None:
            raise BadConfig(f"The goal within {within!r} is not understood.", 'Write it as "2%-of-fp16".')
        return Goal(kind="within", bound=float(found[1]) / 100, slowdown=slowdown)
    return None if slowdown is None else Goal(kind="speed", slowdown=slowdown)


class Judge:
    """Judges figures by a goal, as far as they are known.

    Args:
        goal: The goal.
        half: The figures of FP16; None if they are not known.
    """

    def __init__(self, goal: Goal, half: Measured | None = None) -> None:
        self.goal, self._half = goal, half

    def shortfall(self, own: Measured) -> float:
        """Return how far figures are from the goal in its own units; 0 or less if they meet it, inf if unknown."""
        goal = self.goal
        if goal.kind == "drop":
            return math.inf if own.drop is None else own.drop - goal.bound
        if goal.kind == "sqnr":
            return goal.bound - decibels_of(own)
        if goal.kind == "agreement":
            return math.inf if own.agreement is None else goal.bound - own.agreement
        if goal.kind == "within":
            if own.drop is None or self._half is None or self._half.drop is None or not self._half.metric:
                return math.inf
            return (own.drop - self._half.drop) / abs(self._half.metric) - goal.bound
        return 1.0  # as many dB as possible: never reached

    def meets(self, own: Measured) -> bool:
        """True if figures meet the goal."""
        return self.shortfall(own) <= SAME and self.fast_enough(own)

    def fast_enough(self, own: Measured) -> bool:
        """True unless figures are slower than the goal allows, as the middle of their interval says."""
        limit = self.goal.slowdown
        return limit is None or own.slowdown is None or own.slowdown.value <= limit

    def is_better(self, own: Measured, other: Measured) -> bool:
        """True if figures are nearer to the goal than others, or as near with more dB; never if they are farther."""
        own_gap, other_gap = max(self.shortfall(own), 0.0), max(self.shortfall(other), 0.0)
        if own_gap > other_gap + SAME or not self.fast_enough(own):
            return False
        return own_gap < other_gap - SAME or decibels_of(own) > decibels_of(other) + SAME


def decibels_of(own: Measured) -> float:
    """Return the SQNR; a large number if nothing was lost."""
    return BIT_EXACT if own.sqnr_db is None else own.sqnr_db
