"""Documents of verbs that measure and judge, from ``compare`` to ``tune``."""

from __future__ import annotations

from quantkit.cli.documents.base import Document
from quantkit.core.comparison import Comparison
from quantkit.core.record import Record
from quantkit.core.sensitivity import Sensitivity
from quantkit.core.tuning import Tuning


class CompareDocument(Comparison):
    """Of ``compare``: the contents of ``comparison.json``."""


class ReportDocument(Document):
    """Of ``report``."""

    report: str
    chart: str | None = None


class Difference(Record):
    """One figure before and after."""

    metric: str
    before: float | None
    after: float | None
    outcome: str
    reason: str


class DifferingRow(Record):
    """The figures of a row that both runs or one of them has."""

    target: str
    device: str
    precision: str
    batch: int
    before: bool
    after: bool
    figures: tuple[Difference, ...]


class DifferenceDocument(Document):
    """Of ``report RUN RUN``."""

    report: str
    rows: tuple[DifferingRow, ...]


class Release(Record):
    """A run of a history, and in words what differs from the one before."""

    run: str
    measured: str
    model: str
    differs: tuple[str, ...]


class Reading(Record):
    """A figure of one run, with its interval."""

    run: str
    value: float | None
    low: float | None
    high: float | None


class TrendRow(Record):
    """A figure of one target and precision over the runs."""

    target: str
    device: str
    precision: str
    batch: int
    shape: str
    readings: tuple[Reading, ...]


class Trend(Record):
    """A figure over the runs; ``breaks`` names the runs that cannot be compared with the one before, and why."""

    metric: str
    title: str
    better: str
    breaks: dict[str, str]
    rows: tuple[TrendRow, ...]


class HistoryDocument(Document):
    """Of ``history``."""

    runs: tuple[Release, ...]
    figures: tuple[Trend, ...]
    page: str | None = None


class Origin(Record):
    """A judged comparison: where it lies, and what it was measured on."""

    path: str | None
    model: str
    measured: str
    hardware: str
    data_sha256: str


class JudgedRow(Record):
    """The row that a rule was applied to."""

    target: str
    device: str
    precision: str
    variant: str
    batch: int


class JudgedRule(Record):
    """A rule's settings (``rule`` is all of them in words), and its outcome on one row."""

    metric: str
    target: str
    precision: str
    min: float | None
    max: float | None
    against: str | None
    max_fall: float | str | None
    max_rise: float | str | None
    statistic: str
    level: str
    strict: bool
    rule: str
    row: JudgedRow | None
    measured: float | None
    limit: float | None
    margin: float | None
    other: float | None
    outcome: str
    reason: str


class GateDocument(Document):
    """Of ``gate``: the contents of ``gate.json``."""

    passed: bool
    exit_code: int
    run: Origin
    baseline: Origin | None
    rules: tuple[JudgedRule, ...]


class RunDocument(Document):
    """Of ``run`` and ``demo``; ``passed`` is None if there are no rules."""

    run: str
    comparison: Comparison
    passed: bool | None
    exit_code: int
    tuning: Tuning | None = None


class SensitivityDocument(Sensitivity):
    """Of ``sensitivity``: the contents of ``sensitivity.json``."""


class TuneDocument(Tuning):
    """Of ``tune``: the contents of ``tuning.json``, in which ``run`` is what was tuned; ``output`` is the result."""

    output: str
