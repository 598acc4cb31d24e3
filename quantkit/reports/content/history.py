"""Figures over several runs, oldest first, and where two runs in a row cannot be compared."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from quantkit.core.calibration import Calibration
from quantkit.core.comparison import Comparison, Row
from quantkit.core.figures import Metric, path_title
from quantkit.gates.figure import counterpart, figure
from quantkit.gates.rule import metric_name
from quantkit.reports import wording
from quantkit.reports.content.verdict import percent_digits

LATENCY, SIZE, AGREEMENT, SQNR = "latency_ms.p50", "size_bytes", "agreement", "sqnr_db"


@dataclass(frozen=True)
class Release:
    """A compared run: its name, its comparison, and its calibration if it is known."""

    name: str
    comparison: Comparison
    calibration: Calibration | None = None

    @property
    def measured(self) -> str:
        """When it was compared, in ISO 8601."""
        return self.comparison.environment.measured


@dataclass(frozen=True)
class Change:
    """What differs between a run and the one before it, so that figures cannot be compared.

    Attributes:
        data: True if they were evaluated on other data.
        machine: True if they were measured on other hardware.
        model: "other model" if the tensors of the network differ, "other weights" if the file does; else empty.
    """

    data: bool = False
    machine: bool = False
    model: str = ""

    @property
    def words(self) -> list[str]:
        """The differences, in words."""
        told = ["other data"] * self.data + ["other machine"] * self.machine
        return told + [self.model] * bool(self.model)

    def breaks(self, path: str) -> str:
        """Return why a figure cannot be compared with that of the run before; empty if it can."""
        other_model = self.model == "other model"
        reasons = {
            "other data": self.data and path not in (LATENCY, SIZE),
            "other machine": self.machine and path == LATENCY,
            "other model": other_model and path in (LATENCY, SIZE, AGREEMENT, SQNR),
        }
        return ", ".join(reason for reason, applies in reasons.items() if applies)


@dataclass(frozen=True)
class Reading:
    """A figure in one run, in the file's units, with the ends of its interval; infinite for an SQNR to the bit."""

    release: int
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Line:
    """A figure of one row over the runs that have it."""

    row: Row
    title: str
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class Trend:
    """One figure over all runs.

    Attributes:
        path: Its path in a row.
        metric: Its metric.
        title: Its name in words.
        lines: A line for each target and precision.
        breaks: For each run, why its figure cannot be compared with that of the run before; empty if it can.
        digits: The decimals of a percentage.
    """

    path: str
    metric: Metric
    title: str
    lines: tuple[Line, ...]
    breaks: tuple[str, ...]
    digits: int

    @property
    def unit(self) -> str:
        """The unit of :meth:`scaled` values."""
        return {"share": "%", "bytes": "MB"}.get(self.metric.unit, self.metric.unit)

    def scaled(self, value: float) -> float:
        """Return a value in the unit of the chart: percent and megabytes for shares and bytes."""
        return value * (100 if self.metric.is_share else 1e-6 if self.path == SIZE else 1)

    def shown(self, value: float) -> str:
        """Format a value."""
        if self.path == SQNR:
            return f"{wording.sqnr(value)} dB"
        return f"{value / 1e6:.2f} MB" if self.path == SIZE else wording.value(self.metric, value, self.digits)

    def band(self, reading: Reading) -> str:
        """Format the interval of a reading; empty if it has none."""
        if reading.low is None or reading.high is None:
            return ""
        return f"{self.shown(reading.low).removesuffix(f' {self.unit}')}{wording.DASH}{self.shown(reading.high)}"

    def bare_band(self, reading: Reading) -> str:
        """Format the interval of a reading without its unit."""
        return self.band(reading).removesuffix(f" {self.unit}")


@dataclass(frozen=True)
class History:
    """Several runs, oldest first; ``changes`` has a change for each run from the one before it."""

    releases: tuple[Release, ...]
    changes: tuple[Change, ...]
    trends: tuple[Trend, ...]

    @property
    def notes(self) -> list[str]:
        """A sentence on each run that cannot be compared in full with the one before it."""
        pairs = zip(self.releases, self.releases[1:], self.changes[1:], strict=False)
        return [f"{after.name} against {before.name}: {', '.join(c.words)}." for before, after, c in pairs if c.words]

    def reading(self, trend: Trend, line: Row, release: int) -> Reading | None:
        """Return the reading of a row's figure in one run; None if it has none."""
        own = next((found for found in trend.lines if found.row is line), None)
        return next((r for r in own.readings if r.release == release), None) if own else None

    @property
    def lines(self) -> list[tuple[Row, str]]:
        """The rows of all trends with their titles, each once."""
        found = {id(line.row): (line.row, line.title) for trend in self.trends for line in trend.lines}
        return list(found.values())


def history(releases: Sequence[Release]) -> History:
    """Set runs beside one another in the order of their comparisons.

    Args:
        releases: At least two runs, in any order.

    Returns:
        The history: the newest run's main metric, agreement, SQNR, median latency and size, as far as they are known.
    """
    ordered = sorted(releases, key=lambda release: release.measured)
    changes = (Change(), *(_change(*pair) for pair in itertools.pairwise(ordered)))
    lines = list(_lines(ordered))
    newest = ordered[-1].comparison
    main = [f"metrics.{newest.main_metric}.value"] if newest.main_metric else []
    digits = percent_digits(min(release.comparison.samples for release in ordered))
    trends = []
    for path in (*main, AGREEMENT, SQNR, LATENCY, SIZE):
        metric = newest.metric(metric_name(path))
        found = [_line(path, rows, lines, ordered) for rows in lines]
        shown = tuple(line for line in found if line.readings)
        if shown:
            title = "p50" if path == LATENCY else path_title(path, metric)
            breaks = tuple(change.breaks(path) for change in changes)
            trends.append(Trend(path, metric, title, shown, breaks, digits))
    return History(tuple(ordered), changes, tuple(trends))


def _change(before: Release, after: Release) -> Change:
    first, second = before.comparison, after.comparison
    return Change(
        data=first.data_sha256 != second.data_sha256,
        machine=first.environment.hardware != second.environment.hardware,
        model=_model_change(before, after),
    )


def _model_change(before: Release, after: Release) -> str:
    one, other = before.calibration, after.calibration
    if one is None or other is None:
        return "" if before.comparison.model == after.comparison.model else "other model"
    if one.model.sha256 == other.model.sha256:
        return ""
    return "other weights" if one.tensors.keys() == other.tensors.keys() else "other model"


def _lines(ordered: Sequence[Release]) -> Iterator[dict[int, Row]]:
    """Yield the rows of each target and precision by run; the method may change from run to run."""
    taken: set[int] = set()
    for newest in reversed(range(len(ordered))):
        for row in ordered[newest].comparison.rows:
            if id(row) in taken:
                continue
            rows = {newest: row}
            for other in range(newest):
                own = counterpart(ordered[other].comparison, row)
                if own is not None and id(own) not in taken:
                    rows[other] = own
            taken |= {id(own) for own in rows.values()}
            yield rows


def _line(path: str, rows: dict[int, Row], lines: Sequence[dict[int, Row]], ordered: Sequence[Release]) -> Line:
    readings = []
    for number in sorted(rows):
        comparison = ordered[number].comparison
        found = (
            None
            if path.startswith("metrics.") and metric_name(path) not in rows[number].metrics
            else figure(comparison, rows[number], path)
        )
        if found is not None:
            readings.append(Reading(number, found.value, found.low, found.high))
    last = rows[max(rows)]
    return Line(last, wording.row_name(last, [own[max(own)] for own in lines]), tuple(readings))


def history_document(found: History) -> dict[str, Any]:
    """Return a history for JSON; infinite figures are None."""

    def finite(value: float | None) -> float | None:
        return value if value is not None and math.isfinite(value) else None

    return {
        "schema_version": 1,
        "runs": [
            {"run": r.name, "measured": r.measured, "model": r.comparison.model, "differs": change.words}
            for r, change in zip(found.releases, found.changes, strict=True)
        ],
        "figures": [
            {
                "metric": trend.path,
                "title": trend.title,
                "better": trend.metric.better,
                "breaks": {found.releases[number].name: reason for number, reason in enumerate(trend.breaks) if reason},
                "rows": [
                    {
                        **{key: getattr(line.row, key) for key in ("target", "device", "precision", "batch", "shape")},
                        "readings": [
                            {
                                "run": found.releases[reading.release].name,
                                "value": finite(reading.value),
                                "low": finite(reading.low),
                                "high": finite(reading.high),
                            }
                            for reading in line.readings
                        ],
                    }
                    for line in trend.lines
                ],
            }
            for trend in found.trends
        ],
    }


def history_table(found: History) -> tuple[list[str], list[list[str]]]:
    """Return the titles and the rows of a table: for each INT8 row its figures run by run, oldest first.

    Without INT8 all rows are listed. The last column says what cannot be compared with the run before.
    """
    lines = [(row, title) for row, title in found.lines if row.precision == "int8"] or found.lines
    rows = []
    for row, title in lines:
        for number, release in enumerate(found.releases):
            readings = [(trend, found.reading(trend, row, number)) for trend in found.trends]
            if any(reading for _, reading in readings):
                cells = [_cell(trend, reading) for trend, reading in readings]
                rows.append(
                    [title, release.name, release.measured[:10], *cells, ", ".join(found.changes[number].words)]
                )
    return ["", "run", "compared", *(trend.title for trend in found.trends), "against the one before"], rows


def _cell(trend: Trend, reading: Reading | None) -> str:
    if reading is None:
        return wording.DASH
    band = trend.bare_band(reading)
    return trend.shown(reading.value) + (f" [{band}]" if band else "")
