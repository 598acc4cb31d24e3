"""The path that tuning took, as points of a chart: what each step gave, against what it costs in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from quantkit.core.tuning import Measured, TuneStep, Tuning
from quantkit.reports import wording
from quantkit.reports.content.tuning import BESIDE, slower, taken

Role = Literal["start", "taken", "refused", "to compare", "result"]
LONGEST = 18  # characters of a layer's name in the chart: its end, where layers differ
IN_FLOAT = " in floating point"


@dataclass(frozen=True)
class Axis:
    """The accuracy on the y axis.

    Attributes:
        title: Its title, with the unit.
        higher: True if higher is better.
        of: Takes it from the figures of a step, in the unit of the axis; None if it is not known, or bit-exact.
        goal: The goal in its unit; None if the goal speaks of something else.
    """

    title: str
    higher: bool
    of: Callable[[Measured], float | None]
    goal: float | None


@dataclass(frozen=True)
class Spot:
    """A step in the chart.

    Attributes:
        number: Its number in the table of steps, from 1.
        role: What became of it.
        x: Its latency as a multiple of the start's, or its number if there is no latency.
        low: The lower end of the 95 % interval of ``x``.
        high: The upper end.
        y: Its accuracy; None if it is bit-exact.
        name: What it is, in a word or two.
        facts: Its figures, a line each, after its title.
    """

    number: int
    role: Role
    x: float
    low: float
    high: float
    y: float | None
    name: str
    facts: tuple[str, ...]


def is_timed(found: Tuning) -> bool:
    """True if the latency of steps was measured."""
    return any(step.figures.slowdown is not None for step in found.steps)


def accuracy_of(found: Tuning) -> Axis:
    """Return the figure of the goal if the steps differ in it, else SQNR, in which they do."""
    goal = found.goal
    if goal.kind in ("drop", "within") and _differ(found, _drop):
        return Axis("Drop, points", False, _drop, 100 * goal.bound if goal.kind == "drop" else None)
    if goal.kind == "agreement" and _differ(found, _agreement):
        return Axis("Agreement with FP32, %", True, _agreement, 100 * goal.bound)
    return Axis("SQNR, dB", True, _sqnr, goal.bound if goal.kind == "sqnr" else None)


def spots(found: Tuning) -> list[Spot]:
    """Return the steps that have a place in the chart, in their order."""
    timed, axis = is_timed(found), accuracy_of(found)
    placed = []
    for number, step in enumerate(found.steps, 1):
        own = step.figures
        y = axis.of(own)
        if (timed and own.slowdown is None) or (y is None and axis.of is not _sqnr):
            continue
        x = low = high = float(number)
        if timed and own.slowdown is not None:
            change = own.slowdown
            x = 1 + change.value
            low, high = (x if end is None else 1 + end for end in (change.low, change.high))
        placed.append(Spot(number, _role(found, number), x, low, high, y, _name(step), _facts(found, number)))
    return placed


def goal_shown(placed: Sequence[Spot], axis: Axis) -> float | None:
    """Return the goal, unless it is so far from all steps that they could not be told apart beside it."""
    known = [spot.y for spot in placed if spot.y is not None]
    if axis.goal is None or not known:
        return None
    reach = 1.5 * (max(known) - min(known)) or 1.0
    return axis.goal if min(known) - reach <= axis.goal <= max(known) + reach else None


def front(placed: Sequence[Spot], higher: bool) -> list[Spot]:
    """Return the spots that no other beats in both latency and accuracy, fastest first; bit-exact ones are left out."""
    way = 1 if higher else -1
    known = [(spot.x, -way * spot.y, spot.number, spot) for spot in placed if spot.y is not None]
    best: list[Spot] = []
    lowest = float("inf")
    for _, loss, _, spot in sorted(known, key=lambda one: one[:3]):
        if loss < lowest:
            best.append(spot)
            lowest = loss
    return best


def described(found: Tuning, placed: Sequence[Spot]) -> str:
    """Return the chart in words, for those who do not see it."""
    tried = sum(step.stage not in BESIDE for step in found.steps)
    told = "; ".join(f"{spot.name}: {', '.join(spot.facts[1:])}" for spot in placed if spot.role != "refused")
    return f"{tried} steps were tried, {sum(spot.role == 'refused' for spot in placed)} of them not taken. {told}."


def _differ(found: Tuning, of: Callable[[Measured], float | None]) -> bool:
    return len({of(step.figures) for step in found.steps}) > 1


def _sqnr(own: Measured) -> float | None:
    return own.sqnr_db


def _drop(own: Measured) -> float | None:
    return None if own.drop is None else 100 * own.drop


def _agreement(own: Measured) -> float | None:
    return None if own.agreement is None else 100 * own.agreement


def _role(found: Tuning, number: int) -> Role:
    if number - 1 == found.chosen:
        return "result"
    step = found.steps[number - 1]
    if step.stage in BESIDE:
        return "start" if step.stage == "default" else "to compare"
    return "taken" if step.accepted else "refused"


def _name(step: TuneStep) -> str:
    if step.stage in BESIDE:
        return "default INT8" if step.stage == "default" else "FP16"
    if not step.title.endswith(IN_FLOAT):
        return step.stage
    title = step.title.removesuffix(IN_FLOAT)
    return title if len(title) <= LONGEST else f"…{title[1 - LONGEST :]}"


def _facts(found: Tuning, number: int) -> tuple[str, ...]:
    step = found.steps[number - 1]
    own = step.figures
    lines = [f"{number}. {step.title}: {taken(found, number - 1)}"]
    lines.append("Bit-exact" if own.sqnr_db is None else f"SQNR {wording.sqnr(own.sqnr_db)} dB")
    if own.drop is not None:
        lines.append(f"Drop {100 * own.drop:.2f} points")
    if own.agreement is not None:
        lines.append(f"Agreement {wording.percent(own.agreement)}")
    if own.slowdown is not None and own.slowdown.low is not None:
        lines.append(f"{slower(own)} % slower than the default INT8")
    return tuple(" ".join("".join(c if c.isprintable() else " " for c in line).split()) for line in lines)
