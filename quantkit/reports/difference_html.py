"""The HTML page that compares two runs, in the style of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from quantkit.core.calibration import Calibration
from quantkit.core.comparison import Comparison, Row
from quantkit.core.wording import some
from quantkit.reports import wording
from quantkit.reports.charts.scatter import scatter_svg
from quantkit.reports.content.differences import (
    FigureDifference,
    RangeDifference,
    RowDifference,
    answers_changed,
    facts,
    layer_differences,
    range_differences,
    row_differences,
)
from quantkit.reports.content.thumbnails import pictures_of
from quantkit.reports.content.verdict import Judgement, judged_rows, percent_digits
from quantkit.reports.page import page

MOST_RANGES = 20
MOST_LAYERS = 12
UNLIKE = "not comparable"
ORDER = ("agreement", "sqnr_db", "latency_ms.p50", "size_bytes")  # of the columns after those of the task's metrics


@dataclass(frozen=True)
class Run:
    """One of the two runs: its display name and its contents."""

    name: str
    calibration: Calibration | None
    comparison: Comparison | None


@dataclass(frozen=True)
class Cell:
    """A figure of both runs and its difference; empty if one of the runs lacks it."""

    text: str = ""
    key: float | None = None
    change: str = ""
    outcome: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    difference: RowDifference
    cells: tuple[Cell, ...]

    @property
    def row(self) -> Row:
        """The later run's row if it has one, else the earlier run's."""
        return self.difference.row

    @property
    def after(self) -> bool:
        """True if the later run has the row."""
        return self.difference.after is not None

    @property
    def detail(self) -> str:
        """The method, placement, and batch or shape in both runs."""
        before, after = self.difference.before, self.difference.after
        variants = list(dict.fromkeys(row.variant for row in (before, after) if row is not None and row.variant))
        row = self.difference.row
        return ", ".join(filter(None, (" → ".join(variants), row.feed_name if row.feed != (1, "") else "")))


def difference_page(before: Run, after: Run, thumbnails: bool = True) -> str:
    """Write the comparison of two runs as one HTML document.

    Args:
        before: The earlier run.
        after: The later run.
        thumbnails: Show thumbnails of the samples whose answers changed.

    Returns:
        The HTML document.
    """
    rows: list[RowDifference] = []
    changed, layers = [], []
    if before.comparison and after.comparison:
        rows = row_differences(before.comparison, after.comparison)
        changed = answers_changed(before.comparison, after.comparison)
        layers = layer_differences(before.comparison, after.comparison)
    meanings = {figure.metric: figure for row in rows for figure in row.figures}
    metrics = sorted(meanings, key=_place)
    digits = percent_digits(after.comparison.samples if after.comparison else 0)
    ranges: list[RangeDifference] = []
    missing: list[list[str]] = [[], []]
    count = 0
    if before.calibration and after.calibration:
        ranges = range_differences(before.calibration, after.calibration)
        tensors = (before.calibration.tensors, after.calibration.tensors)
        missing = [[name for name in own if name not in other] for own, other in (tensors, tensors[::-1])]
        count = len(tensors[0].keys() & tensors[1].keys())
    both = _together(before, after)
    return page(
        "difference.html",
        [],
        judgement=judge_difference(before, after, rows),
        names=(before.name, after.name),
        picture=Markup(scatter_svg(both)) if both else "",
        narrow_picture=Markup(scatter_svg(both, narrow=True)) if both else "",
        titles=[_title(meanings[metric]) for metric in metrics],
        differences=[Line(row, tuple(_cell(row, metric, digits) for metric in metrics)) for row in rows],
        changed=changed,
        thumbnails=pictures_of(after.comparison.data, changed) if after.comparison and thumbnails else {},
        layers=layers[:MOST_LAYERS],
        layer_count=len(layers),
        ranges=ranges[:MOST_RANGES],
        range_count=len(ranges),
        tensor_count=count,
        missing=missing,
        some=some,
        facts=facts((before.calibration, before.comparison), (after.calibration, after.comparison)),
    )


def judge_difference(before: Run, after: Run, rows: list[RowDifference]) -> Judgement:
    """Judge if the later run is better, by its INT8 rows.

    Args:
        before: The earlier run.
        after: The later run.
        rows: The differences between their rows.

    Returns:
        The verdict.
    """
    lacking = [run.name for run in (before, after) if run.comparison is None]
    if before.comparison is None or after.comparison is None:
        return Judgement("open", "Ranges alone", f"not compared yet: {' and '.join(lacking)}. Run quantkit compare.")
    judged = [row for row in rows if row.after in judged_rows(after.comparison) and row.before is not None]
    if not judged:
        return Judgement("open", "Nothing in common", "no row of one run has its like in the other.")
    figures = [figure for row in judged for figure in row.figures if figure.metric != "size_bytes"]
    main = after.comparison.main_metric
    results = tuple(_sentence(row, main, percent_digits(after.comparison.samples)) for row in judged)
    if any(figure.outcome == UNLIKE and figure.metric != "latency_ms.p50" for figure in figures):
        reason = f"the data that {before.name} and {after.name} were evaluated on differ, so neither is better."
        return Judgement("open", "Not comparable", reason, results)
    better, worse = (_titles(figures, outcome) for outcome in ("better", "worse"))
    apart = "; latency cannot be compared" if any(figure.outcome == UNLIKE for figure in figures) else ""
    if better and worse:
        reason = f"against {before.name}, {after.name} is better by {better}, and worse by {worse}{apart}."
        return Judgement("open", "Better and worse", reason, results)
    if better:
        reason = f"against {before.name}, {after.name} is better by {better}, and by no figure clearly worse{apart}."
        faster = all(figure.metric == "latency_ms.p50" for figure in figures if figure.outcome == "better")
        return Judgement("ship", "Faster" if faster else "Better", reason, results)
    if worse:
        reason = f"against {before.name}, {after.name} is worse by {worse}, and by no figure clearly better{apart}."
        slower = all(figure.metric == "latency_ms.p50" for figure in figures if figure.outcome == "worse")
        return Judgement("stop", "Slower" if slower else "Worse", reason, results)
    reason = f"what differs between the two runs may be chance{apart}."
    return Judgement("open", "No clear difference", reason, results)


def _titles(figures: Sequence[FigureDifference], outcome: str) -> str:
    """Name the figures with an outcome; empty if there are none."""
    return " and ".join(dict.fromkeys(_title(figure) for figure in figures if figure.outcome == outcome))


def _sentence(difference: RowDifference, main: str | None, digits: int) -> str:
    row = difference.row
    told = []
    for figure in difference.figures:
        further = figure.metric.startswith("metrics.") and figure.meaning.name != main
        if figure.metric == "size_bytes" or further:
            continue
        first, second = (_value(figure, value, digits) for value in (figure.before, figure.after))
        change = _change(figure)
        why = f"{figure.outcome}{f', {figure.reason}' if figure.reason else ''}"
        said = (
            f"{first} as before" if first == second else f"{first} to {second} ({change}{', ' if change else ''}{why})"
        )
        told.append(f"{_title(figure)} {said}")
    batch = f" at {row.feed_name}" if row.feed != (1, "") else ""
    return f"{row.target} {row.precision.upper()}{batch}: {'; '.join(told)}."


def _cell(difference: RowDifference, metric: str, digits: int) -> Cell:
    figure = next((found for found in difference.figures if found.metric == metric), None)
    if figure is None:
        return Cell()
    first, second = (_value(figure, value, digits) for value in (figure.before, figure.after))
    key = figure.after / figure.before - 1 if _relative(figure) and figure.before else figure.after - figure.before
    text = second if first == second else f"{first} → {second}"
    return Cell(text, key if math.isfinite(key) else None, _change(figure), figure.outcome, figure.reason)


def _place(metric: str) -> tuple[int, str]:
    """Return the sort key of a figure's column; the task's metrics come first."""
    return (ORDER.index(metric) + 1 if metric in ORDER else 0, metric)


def _title(figure: FigureDifference) -> str:
    if figure.metric == "latency_ms.p50":
        return "p50"
    return figure.meaning.heading


def _relative(figure: FigureDifference) -> bool:
    """True for figures whose change is given in percent: latency and size."""
    return figure.meaning.unit in ("ms", "bytes")


def _value(figure: FigureDifference, value: float, digits: int) -> str:
    if figure.metric == "sqnr_db":
        return f"{wording.sqnr(value)} dB"
    if figure.metric == "size_bytes":
        return f"{value / 1e6:.2f} MB"
    return wording.value(figure.meaning, value, digits)


def _change(figure: FigureDifference) -> str:
    """Format the difference: with its sign, or of answers as lost or gained; empty if there is none to show."""
    if figure.outcome in ("same", UNLIKE) or not math.isfinite(figure.after - figure.before):
        return ""
    if _relative(figure):
        return f"{wording.signed(100 * (figure.after / figure.before - 1), 1, plus=True)} %"
    if figure.metric == "sqnr_db":
        return f"{wording.signed(figure.after - figure.before, 1, plus=True)} dB"
    return wording.loss(figure.meaning, figure.meaning.loss(figure.before, figure.after))


def _together(before: Run, after: Run) -> Comparison | None:
    """Combine the rows of both runs for one chart, with the run in each target's name; None if they do not fit."""
    first, second = before.comparison, after.comparison
    if first is None or second is None or first.environment.hardware != second.environment.hardware:
        return None
    if first.data_sha256 != second.data_sha256 or bool(first.labelled) != bool(second.labelled):
        return None
    rows = [
        row.model_copy(update={"target": f"{row.target}, {run.name}"})
        for run, comparison in ((before, first), (after, second))
        for row in comparison.rows
    ]
    return second.model_copy(update={"rows": tuple(rows)})


def run_names(*runs: Path) -> tuple[str, ...]:
    """Name runs by their folders, or by as much of their paths as distinguishes them."""
    parts = [run.absolute().parts for run in runs]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-depth:]) for own in parts]
        if len(set(names)) == len(names):
            return tuple(names)
    return tuple(map(str, runs))
