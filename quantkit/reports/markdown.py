"""The summary in Markdown, short enough for a comment on a pull request."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import PureWindowsPath

from quantkit.core.calibration import Calibration
from quantkit.core.comparison import Comparison
from quantkit.core.sensitivity import Sensitivity
from quantkit.core.tuning import Tuning
from quantkit.gates import GateResult
from quantkit.gates.recommendation import recommend
from quantkit.gates.recommendation_words import sentence
from quantkit.reports import wording
from quantkit.reports.content.culprits import named
from quantkit.reports.content.layer_errors import series_of, worst_named
from quantkit.reports.content.table import Cell, columns
from quantkit.reports.content.tuning import columns as steps_of
from quantkit.reports.content.tuning import outcome
from quantkit.reports.content.verdict import judge

MOST_ROWS, MOST_RULES, MOST_SENTENCES, MOST_STEPS = 16, 10, 5, 8
_SPECIAL = re.compile(r"([\\`*_\[\]|~#])")


def markdown_summary(
    comparison: Comparison | None,
    gate: GateResult | None,
    calibration: Calibration | None,
    sensitivity: Sensitivity | None = None,
    tuning: Tuning | None = None,
) -> str:
    """Write the model's verdict, rows, gate rules, environment and warnings in less than 60 lines.

    Args:
        comparison: The comparison, if there is one.
        gate: The gate's result, if there is one.
        calibration: The calibration, if it is known.
        sensitivity: What each layer loses by itself, if it was measured.
        tuning: What tuning tried and chose, if the run was tuned.

    Returns:
        The Markdown; items that do not fit are counted.
    """
    judgement = judge(comparison, gate)
    model = comparison.model if comparison else calibration.model.path if calibration else ""
    name = f"{escaped(PureWindowsPath(model).name)}: " if model else ""  # which splits at both kinds of slash
    verdict = [f"**{name}{escaped(judgement.headline)}**: {escaped(judgement.reason)}", ""]
    blocks = [verdict, _bullets(judgement.results)]
    if comparison:
        told = escaped(sentence(recommend(comparison).overall, comparison))
        blocks.append([f"**Recommended**: {told}", "", *_rows(comparison)])
        worst = named(sensitivity) if sensitivity else worst_named(series_of(comparison.rows))
        blocks.append([escaped(worst), ""] if worst else [])
    if tuning:
        blocks.append(_steps(tuning))
    if gate and gate.verdicts:
        blocks.append(_rules(gate))
    blocks.append(_origin(comparison, calibration))
    warnings = [w for source in (comparison, calibration) if source for w in source.warnings]
    if warnings:
        blocks.append(["Warnings:", "", *_bullets(warnings)])
    return "\n".join(line for block in blocks for line in block).rstrip() + "\n"


def escaped(text: str) -> str:
    """Escape a name or sentence to plain text on one line, without Markdown, HTML or table cells."""
    return _SPECIAL.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _bullets(sentences: Sequence[str]) -> list[str]:
    more = len(sentences) - MOST_SENTENCES
    shown = [*sentences[:MOST_SENTENCES], *([f"… and {more} more"] if more > 0 else [])]
    return [*(f"- {escaped(sentence)}" for sentence in shown), ""] if shown else []


def _table(head: Sequence[str], align: Sequence[str], body: Sequence[Sequence[str]], most: int, what: str) -> list[str]:
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, align, *body[:most])]
    more = len(body) - most
    return [*lines, "", *([f"… and {more} more {what} in the report.", ""] if more > 0 else [])]


def _rows(comparison: Comparison) -> list[str]:
    shown = columns(comparison)
    body = [[_text(column.cell(row)) for column in shown] for row in comparison.rows]
    align = ["---:" if column.numeric else "---" for column in shown]
    return _table([column.title for column in shown], align, body, MOST_ROWS, "rows")


def _text(cell: Cell) -> str:
    return escaped(f"{cell.text} ({cell.detail})" if cell.detail else cell.text)


def _steps(tuning: Tuning) -> list[str]:
    """What tuning bought: the steps that were taken, with the result whatever it is, and how many were not."""
    heads, rows = steps_of(tuning)
    taken = [row for row in rows if row[2] != "no"]
    kept = [*taken[: MOST_STEPS - 1], taken[-1]] if len(taken) > MOST_STEPS else taken
    body = [[escaped(cell) for cell in row] for row in kept]
    more = len(rows) - len(kept)
    align = ["---" if number < 3 else "---:" for number in range(len(heads))]
    told = [f"… and {more} more steps in the report.", ""] if more else []
    return [f"**How it was tuned**: {escaped(outcome(tuning))}", "", *_table(heads, align, body, MOST_STEPS, ""), *told]


def _rules(gate: GateResult) -> list[str]:
    body = [
        [
            escaped(text)
            for text in (
                v.rule.in_words(),
                wording.subject(v),
                wording.measured(v),
                wording.margin(v),
                v.outcome + (f": {v.reason}" if v.reason else ""),
            )
        ]
        for v in wording.worst_first(gate)
    ]
    head, align = ("Gate rule", "For", "Measured", "Margin", "Outcome"), ("---", "---", "---:", "---:", "---")
    return _table(head, align, body, MOST_RULES, "rules")


def _origin(comparison: Comparison | None, calibration: Calibration | None) -> list[str]:
    parts = []
    if calibration:
        parts.append(
            f"{len(calibration.tensors)} tensors of {calibration.model.path} calibrated with {calibration.method} "
            f"on {calibration.samples} samples of {calibration.data.path}"
        )
    if comparison:
        machine = comparison.environment
        packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
        where = ", ".join(filter(None, (machine.cpu, f"{machine.cores} cores", machine.gpu, packages)))
        parts.append(
            f"compared on {comparison.samples} samples ({comparison.labelled} labelled) of {comparison.data}, "
            f"{where}, quantkit {machine.quantkit}, {machine.measured}"
        )
    return [f"{escaped('; '.join(parts))}.", ""] if parts else []
