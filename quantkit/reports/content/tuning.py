"""What tuning tried and chose, in words: for the command line and the report."""

from __future__ import annotations

from quantkit.core.tuning import Measured, Tuning

NONE = "–"
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
        row += [NONE if own.drop is None else f"{100 * own.drop:.2f}"] if labelled else []
        row += [NONE if own.agreement is None else f"{100 * own.agreement:.1f}"] if answers else []
        row += [NONE if own.latency_ms is None else f"{own.latency_ms:.4g}", slower(own)] if timed else []
        rows.append(row)
        if step.accepted:
            before = own
    return heads, rows


def outcome(found: Tuning) -> str:
    """Return what came out, in a sentence or two."""
    own, result = next(step for step in found.steps if step.stage == "default").figures, found.result.figures
    bought = ""
    if own.sqnr_db is not None and result.sqnr_db is not None:
        bought = f"{own.sqnr_db:.1f} → {result.sqnr_db:.1f} dB"
    if own.drop is not None and result.drop is not None:
        bought += f", drop {100 * own.drop:.2f} → {100 * result.drop:.2f} points"
    if result.slowdown is not None and result.slowdown.low is not None:
        bought += f", {100 * result.slowdown.value:+.1f} % latency"
    reached = "The goal is met" if found.met else f"The goal is not met, because {found.obstacle}"
    left = f" {found.result.floating} of the layers stay in floating point." if found.result.floating else ""
    return f"{reached} ({found.goal.text}): {bought}.{left}"


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
        return NONE
    return f"{own.sqnr_db - before.sqnr_db:+.2f}"


def slower(own: Measured) -> str:
    """Return by how many percent figures are slower than the start, with the 95 % interval."""
    if own.slowdown is None:
        return NONE
    if own.slowdown.low is None or own.slowdown.high is None:
        return f"{100 * own.slowdown.value:+.1f}"
    low, high = 100 * own.slowdown.low, 100 * own.slowdown.high
    return f"{100 * own.slowdown.value:+.1f} [{low:+.1f} to {high:+.1f}]"
