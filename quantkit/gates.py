"""The release gate: rules over the figures of a comparison."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from quantkit.core.comparison import Comparison, Row
from quantkit.core.errors import GateFailed, NothingEvaluated

SHARES = ("top1", "top5", "agreement")
UNITS = {"latency_ms": " ms", "sqnr_db": " dB", "speedup": "x", "throughput": "/s", "size_bytes": " bytes"}

MOST_SENSIBLE_DROP = 0.1  # a limit this lax was meant in points: 0.5 for half a point would let everything pass


class Rule(BaseModel):
    """One ``[[gate]]`` table: ``min`` and/or ``max`` for a figure of ``comparison.json``.

    ``metric`` is the figure's path in a row: ``drop.top1``, ``metrics.top1.value`` (or ``top1`` for short),
    ``agreement``, ``sqnr_db``, ``speedup``, ``latency_ms.p50``, ``throughput``, ``size_bytes``. Limits are in the
    file's units, so shares are 0..1: half a point is 0.005. ``target`` and ``precision`` are names or wildcards; a
    rule speaks of INT8 unless it says otherwise, and never of the FP32 reference's comparison with itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    target: str = "*"
    precision: str = "int8"
    min: float | None = None
    max: float | None = None
    level: Literal["error", "warn"] = "error"

    @model_validator(mode="after")
    def _check(self) -> Rule:
        limits = [limit for limit in (self.min, self.max) if limit is not None]
        if not limits:
            raise ValueError("a gate rule needs min or max")
        if not all(map(math.isfinite, limits)):
            raise ValueError("min and max must be finite")
        if self.is_share and any(abs(limit) > 1 for limit in limits):
            raise ValueError(f"{self.metric} is a share from 0 to 1: write 0.985 for 98.5 %, 0.005 for half a point")
        if self.metric.startswith("drop.") and any(limit >= MOST_SENSIBLE_DROP for limit in limits):
            raise ValueError(f"{self.metric} {max(limits):g} is {100 * max(limits):g} points; half a point is 0.005")
        return self

    @property
    def is_share(self) -> bool:
        """Whether the metric is a share, shown to people in percent or points."""
        return self.metric.startswith(("drop.", "metrics.")) or self.metric in SHARES

    def format(self, value: float) -> str:
        """A value of this metric as people read it."""
        if self.metric.startswith("drop."):
            return f"{100 * value:.2f} points"
        if self.is_share:
            return f"{100 * value:.2f} %"
        return f"{value:.4g}{UNITS.get(self.metric.split('.')[0], '')}"

    def describe(self) -> str:
        """The rule in one line."""
        limits = [f"≥ {self.format(self.min)}"] if self.min is not None else []
        limits += [f"≤ {self.format(self.max)}"] if self.max is not None else []
        return f"{self.metric} {' and '.join(limits)}"


@dataclass(frozen=True)
class Verdict:
    """One rule applied to one row; ``row`` and ``value`` are None when the rule matched nothing."""

    rule: Rule
    row: Row | None
    value: float | None

    @property
    def passed(self) -> bool:
        """Whether the value is there and within the limits."""
        value = self.value
        if value is None or math.isnan(value):
            return False
        rule = self.rule
        return (rule.min is None or value >= rule.min) and (rule.max is None or value <= rule.max)

    @property
    def outcome(self) -> Literal["pass", "warn", "fail", "no match"]:
        """In one word."""
        if self.row is None:
            return "no match"
        if self.passed:
            return "pass"
        return "warn" if self.rule.level == "warn" else "fail"


@dataclass(frozen=True)
class GateResult:
    """All rules applied to all rows they speak of."""

    verdicts: tuple[Verdict, ...]

    @property
    def exit_code(self) -> int:
        """0 pass, 1 a rule of level error failed, 5 a rule matched nothing or there were no rules (5 goes before 1)."""
        outcomes = {verdict.outcome for verdict in self.verdicts}
        if not outcomes or "no match" in outcomes:
            return NothingEvaluated.exit_code
        return GateFailed.exit_code if "fail" in outcomes else 0

    @property
    def passed(self) -> bool:
        """Whether the model may ship."""
        return self.exit_code == 0

    def raise_for_failure(self) -> None:
        """Raise NothingEvaluated or GateFailed, naming the first rule at fault; return quietly on a pass."""
        if not self.verdicts:
            raise NothingEvaluated("There are no gate rules.", "Add [[gate]] tables, or give --max-drop and the like.")
        for verdict in self.verdicts:
            if verdict.outcome == "no match":
                raise NothingEvaluated(
                    f"The gate rule {verdict.rule.describe()} for {verdict.rule.target}/{verdict.rule.precision} "
                    "matched nothing.",
                    "Check its metric, target and precision against comparison.json; top1 needs labelled data.",
                )
        for verdict in self.verdicts:
            if verdict.outcome == "fail" and verdict.row is not None and verdict.value is not None:
                raise GateFailed(
                    f"{verdict.row.target} {verdict.row.precision} has {verdict.rule.metric} = "
                    f"{verdict.rule.format(verdict.value)}, but the gate asks {verdict.rule.describe()}.",
                    "Look at the report, or try another --method.",
                )


def gate(comparison: Comparison, rules: Sequence[Rule]) -> GateResult:
    """Apply every rule to every row of its target and precision that has its figure."""
    verdicts: list[Verdict] = []
    for rule in rules:
        matched = [
            Verdict(rule, row, value)
            for row in comparison.rows
            if fnmatchcase(row.target, rule.target) and fnmatchcase(row.precision, rule.precision)
            for value in _figures(row, rule.metric)
        ]
        verdicts += matched or [Verdict(rule, None, None)]
    return GateResult(tuple(verdicts))


def _figures(row: Row, metric: str) -> Iterator[float]:
    """The figure at the path ``metric`` of a row; nothing where it has none."""
    compares = metric in ("agreement", "sqnr_db", "speedup") or metric.startswith("drop.")
    if row.is_reference and compares:
        return
    if metric == "sqnr_db" and row.sqnr_db is None:
        yield math.inf  # equal to FP32 to the bit
        return
    if metric in row.metrics:
        metric = f"metrics.{metric}.value"
    found: object = row.model_dump()
    for key in metric.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        yield float(found)
