"""What tuning tried and chose, in words: for the command line and the report."""

from __future__ import annotations

from quantkit.core.tuning import Measured, Tuning
from quantkit.reports.wording import DASH, MINUS, percent, signed

BESIDE = ("default", "fp16")  # the stages that are no steps: where tuning starts, and what it is held against


def columns(found: Tuning) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the rows of a table of all steps; the first three columns are text."""
    labelled = any(step.figures.drop is not None for step in found.steps)
    answers = any(step.figures.agreement is not None for step in found.steps)
    timed = any(step.figures.latency_ms is not None for step in found.steps)
    heads = ["#", "step", "taken", "SQNR, dB", "bought, dB"]
    heads += ["drop, points"] if labelled else []
    heads += ["agree, %"] if answers else []
    heads += ["p50, ms", "slower, % [95 %]"] if timed else []
    rows, before = [], None
    for number, step in enumerate(found.steps):
        own = step.figures
        row = [str(number + 1), step.title, taken(found, number), _sqnr(own), _bought(before, own)]
        row += [DASH if own.drop is None else f"{100 * own.drop:.2f}"] if labelled else []
        row += [DASH if own.agreement is None else f"{100 * own.agreement:.1f}"] if answers else []
        row += [DASH if own.latency_ms is None else f"{own.latency_ms:.4g}", slower(own)] if timed else []
        rows.append(row)
        if step.accepted:
            before = own
    return heads, [[*row[:3], *(cell.replace("-", MINUS) for cell in row[3:])] for row in rows]


def outcome(found: Tuning) -> str:
    """Return what came out, in a sentence or two."""
    own, result = next(step for step in found.steps if step.stage == "default").figures, found.result.figures
    bought = [f"SQNR {_sqnr(own)} → {_sqnr(result)}{'' if result.sqnr_db is None else ' dB'}"]
    if own.drop is not None and result.drop is not None:
        drops = (signed(100 * figures.drop, 2) for figures in (own, result) if figures.drop is not None)
        bought.append(f"drop {' → '.join(drops)} points")
    elif own.agreement is not None and result.agreement is not None:
        bought.append(f"agreement {percent(own.agreement)} → {percent(result.agreement)}")
    if result.slowdown is not None and result.slowdown.low is not None:
        bought.append(f"{signed(100 * result.slowdown.value, 1, plus=True)} % latency")
    reached = "The goal is met" if found.met else f"The goal is not met, because {found.obstacle}"
    left = f" {found.result.floating} of the layers stay in floating point." if found.result.floating else ""
    return f"{reached} ({found.goal.text}): {', '.join(bought)}.{left}"


def taken(found: Tuning, number: int) -> str:
    """Return what became of a step, by its index, in a word."""
    step = found.steps[number]
    if number == found.chosen:
        return "result"
    if step.stage in BESIDE:
        return "start" if step.stage == "default" else "to compare"
    return "yes" if step.accepted else "no"


def _sqnr(own: Measured) -> str:
    return "exact" if own.sqnr_db is None else f"{own.sqnr_db:.1f}"


def _bought(before: Measured | None, own: Measured) -> str:
    if before is None or before.sqnr_db is None or own.sqnr_db is None:
        return DASH
    return f"{own.sqnr_db - before.sqnr_db:+.2f}"


def slower(own: Measured) -> str:
    """Return by how many percent figures are slower than the start, with the 95 % interval."""
    if own.slowdown is None:
        return DASH
    if own.slowdown.low is None or own.slowdown.high is None:
        return f"{100 * own.slowdown.value:+.1f}"
    low, high = 100 * own.slowdown.low, 100 * own.slowdown.high
    return f"{100 * own.slowdown.value:+.1f} [{low:+.1f} to {high:+.1f}]"
