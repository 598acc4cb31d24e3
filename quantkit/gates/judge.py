"""Applies gate rules to a comparison: each passes, fails or cannot be judged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from quantkit.core.comparison import Comparison, Row
from quantkit.core.errors import BadConfig, GateFailed, NothingEvaluated
from quantkit.gates.figure import Figure, counterpart, figure
from quantkit.gates.recommendation import recommend
from quantkit.gates.recommendation_words import sentence
from quantkit.gates.rule import Rule
from quantkit.gates.speed import reference_of

Outcome = Literal["pass", "warn", "fail", "inconclusive", "not comparable", "no match"]


@dataclass(frozen=True)
class Verdict:
    """One rule applied to one row.

    Attributes:
        rule: The rule.
        outcome: The result.
        row: The row that was judged; None if the rule matched nothing, and then all values are None, too.
        value: The value that was judged: the figure, the bad end of its interval or, with ``against``, the difference
            from ``other``.
        limit: The rule's limit with the smallest margin.
        margin: The distance to the limit in the file's units; negative beyond the limit.
        other: The figure that a rule with ``against`` compares with.
        reason: The explanation of an outcome that needs one.
        variant: The row's variant, if the comparison has several rows of its target, precision and batch.
    """

    rule: Rule
    outcome: Outcome
    row: Row | None = None
    value: float | None = None
    limit: float | None = None
    margin: float | None = None
    other: float | None = None
    reason: str = ""
    variant: str = ""


@dataclass(frozen=True)
class GateResult:
    """The verdicts of all rules on all rows that they match, and the earlier comparison if one was given."""

    verdicts: tuple[Verdict, ...]
    baseline: Comparison | None = None

    def __repr__(self) -> str:
        return f"GateResult(passed={self.passed}, {len(self.verdicts)} verdicts)"

    @property
    def exit_code(self) -> int:
        """0 for a pass, 1 if a rule of level error failed, 5 if a rule had nothing to judge or there are no rules."""
        outcomes = {verdict.outcome for verdict in self.verdicts}
        unjudged = any(verdict.outcome == "not comparable" and verdict.rule.strict for verdict in self.verdicts)
        if not outcomes or "no match" in outcomes or unjudged:
            return NothingEvaluated.exit_code
        return GateFailed.exit_code if "fail" in outcomes else 0

    @property
    def passed(self) -> bool:
        """True if the model may ship."""
        return self.exit_code == 0

    def raise_for_failure(self) -> None:
        """Raise NothingEvaluated or GateFailed, naming the first rule at fault; do nothing if the gate passed."""
        if not self.verdicts:
            raise NothingEvaluated(
                "There are no gate rules.", "Add [[gate]] tables, Rules in Python, or --max-drop and the like."
            )
        for verdict in self.verdicts:
            rule = verdict.rule
            if verdict.outcome == "no match":
                raise NothingEvaluated(
                    f"The gate rule {rule.in_words()} ({rule.metric}) for {rule.target}/{rule.precision} matched "
                    f"nothing{f' ({verdict.reason})' if verdict.reason else ''}.",
                    "Check its metric, target and precision against comparison.json; accuracy needs labelled data.",
                )
            if verdict.outcome == "not comparable" and rule.strict:
                raise NothingEvaluated(
                    f"The strict gate rule {rule.in_words()} ({rule.metric}) cannot be judged: {verdict.reason}.",
                    "Measure the baseline anew here, or leave strict out.",
                )
        for verdict in self.verdicts:
            rule = verdict.rule
            if verdict.outcome == "fail" and verdict.row is not None and verdict.value is not None:
                variant = f" ({verdict.variant})" if verdict.variant else ""
                verb = "is" if rule.against is None else "changed by"
                raise GateFailed(
                    f"{verdict.row.target} {verdict.row.precision}{variant}: {rule.title} {verb} "
                    f"{rule.format(verdict.value)}, but the gate asks for {rule.in_words()} ({rule.metric}).",
                    "Look at the report, or try another method.",
                )


def gate(
    comparison: Comparison,
    rules: Sequence[Rule],
    baseline: Comparison | None = None,
    baseline_optional: bool = False,
) -> GateResult:
    """Apply every rule to every row of its target and precision that has its figure.

    Args:
        comparison: The comparison to judge.
        rules: The rules to apply.
        baseline: An earlier comparison, for rules with ``against = "baseline"``.
        baseline_optional: Without a baseline, rules against it are not comparable, instead of an error.

    Returns:
        A verdict for each rule and matching row, and one for each rule that matched nothing.

    Raises:
        BadInput: A rule needs a baseline and there is none.
        BadConfig: A limit makes no sense.
    """
    if baseline is None and not baseline_optional and any(rule.against == "baseline" for rule in rules):
        raise BadConfig(
            "A gate rule speaks of a baseline, and none is given.",
            "Give an earlier run (--baseline, baseline=), or let the first do without one (--baseline-optional, "
            "baseline_optional=True).",
        )
    verdicts: list[Verdict] = []
    for rule in (rule.of(comparison) for rule in rules):
        found = [
            _against(rule, comparison, row, own, baseline) if rule.against else _absolute(rule, comparison, row, own)
            for row, own in _matched(rule, comparison)
        ]
        judged = [verdict for verdict in found if verdict.outcome != "no match"]
        judged = judged or found[:1] or [Verdict(rule, "no match", reason=_unmatched(rule, comparison))]
        verdicts += [replace(verdict, variant=_variant(verdict.row, comparison)) for verdict in judged]
    return GateResult(tuple(verdicts), baseline)


def _variant(row: Row | None, comparison: Comparison) -> str:
    """Return the variant of a row that has it apart from others; empty if there is no such other."""
    if row is None:
        return ""
    own = (row.target, row.device, row.precision, row.feed)
    return row.variant if sum((r.target, r.device, r.precision, r.feed) == own for r in comparison.rows) > 1 else ""


def _matched(rule: Rule, comparison: Comparison) -> Iterator[tuple[Row, Figure]]:
    for row in comparison.rows:
        own = figure(comparison, row, rule.metric) if _named(rule, row) else None
        if own is not None and (rule.statistic == "value" or own.low is not None):
            yield row, own


def _named(rule: Rule, row: Row) -> bool:
    """True if the rule applies to this row; it never applies to the row that the others are compared with."""
    named = fnmatchcase(row.target, rule.target) and fnmatchcase(row.precision, rule.precision)
    return named and row.precision != rule.against


def _unmatched(rule: Rule, comparison: Comparison) -> str:
    rows = [row for row in comparison.rows if _named(rule, row)]
    if not rows and rule.against and any(row.precision == rule.against for row in comparison.rows):
        return f"there is no other row of it to hold to {rule.against.upper()}"
    if not rows:
        return "no row has this target and precision"
    if any(figure(comparison, row, rule.metric) for row in rows):
        return "the figure has no interval here"
    return "no row of this target and precision has this figure"


def _absolute(rule: Rule, comparison: Comparison, row: Row, own: Figure) -> Verdict:
    """Judge ``min`` and ``max``; if both are set, the limit with the smaller margin decides.

    A speed-up whose interval holds the limit may be on either side of it, whatever its value.
    """
    bounds = []
    if rule.min is not None:
        bounds.append(_above(_low(rule, own), rule.min))
    if rule.max is not None:
        bounds.append(_below(_high(rule, own), rule.max))
    margin, value, limit = min(bounds)
    if rule.metric == "speedup" and rule.statistic == "value" and not rule.strict and own.leaves_open(limit):
        reason = f"the limit is within the speed-up's 95 % interval, {own.low:.2f}x to {own.high:.2f}x"
        return Verdict(rule, "inconclusive", row, value, limit, margin, reason=reason)
    reason = ""
    if rule.metric == "recommended" and margin < 0:
        reason = sentence(recommend(comparison).of(row), comparison).removesuffix(".")
    return Verdict(rule, "pass" if margin >= 0 else _missed(rule), row, value, limit, margin, reason=reason)


def _against(rule: Rule, comparison: Comparison, row: Row, own: Figure, baseline: Comparison | None) -> Verdict:
    """Judge ``max_fall`` and ``max_rise``: the difference between the figure and another row's."""
    if rule.against == "baseline" and baseline is None:
        return Verdict(rule, "not comparable", row, reason="there is no baseline yet")
    source = comparison if rule.against != "baseline" or baseline is None else baseline
    peer = (
        counterpart(source, row) if rule.against == "baseline" else reference_of(source.rows, row, rule.against or "")
    )
    other = figure(source, peer, rule.metric) if peer is not None else None
    if peer is None or other is None:
        return Verdict(rule, "no match", reason=f"{row.target} {row.precision} has nothing to be compared with")
    reason = _unlike(rule, comparison, source)
    if reason:
        return Verdict(rule, "not comparable", row, other=other.value, reason=reason)
    bounds = []
    if rule.max_fall is not None:
        bounds.append(_above(_difference(_low(rule, own), other), -rule.amount(rule.max_fall, other.value)))
    if rule.max_rise is not None:
        bounds.append(_below(_difference(_high(rule, own), other), rule.amount(rule.max_rise, other.value)))
    margin, difference, limit = min(bounds)
    outcome: Outcome = "pass" if margin >= 0 else _missed(rule)
    reason = ""
    if outcome != "pass" and rule.of_the_machine and not rule.strict and own.overlaps(other):
        outcome, reason = "inconclusive", "the difference is within the spread of the rounds"
    return Verdict(rule, outcome, row, difference, limit, margin, other.value, reason)


def _low(rule: Rule, own: Figure) -> float:
    return own.low if rule.statistic == "pessimistic" and own.low is not None else own.value


def _high(rule: Rule, own: Figure) -> float:
    return own.high if rule.statistic == "pessimistic" and own.high is not None else own.value


def _difference(value: float, other: Figure) -> float:
    """Subtract; the difference of two infinite SQNRs (both bit-exact with FP32) is 0."""
    return 0.0 if value == other.value else value - other.value


def _above(value: float, limit: float) -> tuple[float, float, float]:
    """Return margin, value and limit of a lower bound; NaN misses every bound."""
    return (-math.inf if math.isnan(value) else value - limit if value != limit else 0.0, value, limit)


def _below(value: float, limit: float) -> tuple[float, float, float]:
    return (-math.inf if math.isnan(value) else limit - value if value != limit else 0.0, value, limit)


def _missed(rule: Rule) -> Outcome:
    return "warn" if rule.level == "warn" else "fail"


def _unlike(rule: Rule, comparison: Comparison, source: Comparison) -> str:
    """Return why this figure of the two comparisons cannot be compared; empty if it can."""
    if source is comparison or rule.metric.startswith("size_bytes"):
        return ""
    here, there = comparison.environment.hardware, source.environment.hardware
    if rule.of_the_machine:
        return "" if here == there else f"the baseline was measured on other hardware ({there}; here {here})"
    same = comparison.data_sha256 == source.data_sha256
    return "" if same else "the baseline was evaluated on other data"
