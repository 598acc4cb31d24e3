"""The first sentence of every report: whether the model may ship, and the results of the INT8 rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from quantkit.core.comparison import Comparison, Interval, Row
from quantkit.core.decibels import FAR_DB, NOISE_DB
from quantkit.core.figures import Metric
from quantkit.gates import GateResult, Verdict
from quantkit.gates.loss import SIGNIFICANT, loss_of
from quantkit.gates.rule import metric_name
from quantkit.gates.speed import not_faster
from quantkit.reports import wording

MOST_NAMED_RULES = 3  # failed rules that the sentence names; the table of rules has all
KEEPS = 0.01  # up to this loss the sentence says "keeps", beyond it "falls to"
FINE_SAMPLES = 1000  # with so many samples, the second decimal of a percentage is meaningful


@dataclass(frozen=True)
class Judgement:
    """The verdict in a few words, its reason, and a sentence on the result of each quantized row."""

    outcome: Literal["ship", "stop", "open"]
    headline: str
    reason: str
    results: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The verdict, reason and results in one paragraph."""
        return " ".join((f"{self.headline}: {self.reason}", *self.results))


def judge(comparison: Comparison | None, gate: GateResult | None) -> Judgement:
    """Judge a comparison. Only a gate can say "Ship", and only of outputs that are known to be good enough.

    A loss of accuracy that is more than chance stops, whatever the gate says.

    Args:
        comparison: The comparison; None if the run is not compared yet.
        gate: The gate's result; None without rules.

    Returns:
        The verdict.
    """
    results = tuple(_result(row, comparison) for row in judged_rows(comparison)) if comparison else ()
    lost = lost_rows(comparison) if comparison else []
    if gate is None:
        if comparison is None:
            return Judgement("open", "Calibrated, not compared yet", "run quantkit compare to measure it.")
        if lost:
            return Judgement("stop", "Loses accuracy", f"{_named(lost)}. No rule has judged these figures.", results)
        return Judgement("open", "No gate", "no rule has judged these figures yet; run quantkit gate.", results)
    if gate.exit_code == 0:
        doubts = lost + (_doubts(comparison, gate) if comparison else [])
        if doubts:
            reason = f"{_passed(gate).removesuffix('.')}, but {_named(doubts)}."
            return Judgement("stop" if lost else "open", "Do not ship yet", reason, results)
        slow = slow_rows(comparison) if comparison else []
        passed = f"{_passed(gate).removesuffix('.')}, though {_named(slow)}." if slow else _passed(gate)
        return Judgement("ship", "Ship", passed, results)
    failed = _failures(gate)
    if gate.exit_code == 1:
        return Judgement("stop", "Do not ship", f"the gate is not met: {failed}.", results)
    unmatched = [v for v in gate.verdicts if v.outcome == "no match"]
    unjudged = [v for v in gate.verdicts if v.outcome == "not comparable" and v.rule.strict]
    reason = "there are no gate rules"
    if unjudged and not unmatched:
        reason = _named([f"the rule {v.rule.in_words()} cannot be judged, {v.reason}" for v in unjudged])
    if unmatched:
        reason = _named([f"{v.rule.in_words()} for {v.rule.target}/{v.rule.precision}" for v in unmatched])
        reason = f"no figure matches the gate rule {reason}"
    reason += f"; besides, {'; '.join(filter(None, (failed, _named(lost))))}." if failed or lost else "."
    return Judgement("stop" if lost else "open", "Nothing evaluated", reason, results)


def judged_rows(comparison: Comparison) -> list[Row]:
    """Return the INT8 rows; if there are none, all rows except FP32."""
    others = [row for row in comparison.rows if not row.is_reference]
    return [row for row in others if row.precision == "int8"] or others


def lost_rows(comparison: Comparison) -> list[str]:
    """Return a clause for each quantized row that loses accuracy beyond chance.

    A row of one method or placement is passed over if another one of the same target and device loses nothing.
    """
    told: dict[str, str] = {}
    judged = judged_rows(comparison)
    losses = [loss_of(row, comparison) for row in judged]
    for row, loss in zip(judged, losses, strict=True):
        own = (row.target, row.device, row.precision)
        alike = [i for i, other in enumerate(judged) if (other.target, other.device, other.precision) == own]
        if loss is not None and loss.kind != "unknown" and all(losses[i] is not None for i in alike):
            told.setdefault(row.key, loss.of(wording.row_name(row, comparison.rows)))
    return list(told.values())


def slow_rows(comparison: Comparison) -> list[str]:
    """Return a clause for each quantized row that is not faster than FP32 of its target."""
    rows = comparison.rows
    told = [(wording.row_name(row, rows), not_faster(row, rows)) for row in judged_rows(comparison)]
    return [f"{name} {slow}" for name, slow in told if slow]


def percent_digits(samples: int) -> int:
    """Return the number of decimals of a percentage that are meaningful for so many samples."""
    return 2 if samples >= FINE_SAMPLES else 1


def _passed(gate: GateResult) -> str:
    count = len(gate.verdicts)
    said = []
    warned = [_miss(v) for v in gate.verdicts if v.outcome == "warn"]
    if warned:
        said.append(f"as a warning, {_named(warned)}")
    open_ones = [v for v in gate.verdicts if v.outcome in ("inconclusive", "not comparable")]
    if open_ones:
        said.append(
            _named([f"{wording.subject(v)}'s {v.rule.in_words()} is {v.outcome}: {v.reason}" for v in open_ones])
        )
    if said:
        return f"no gate rule failed; {'; '.join(said)}."
    return "the gate rule is met." if count == 1 else f"all {count} gate checks passed."


def _doubts(comparison: Comparison, gate: GateResult) -> list[str]:
    """Return what speaks against shipping although no rule failed and nothing is lost for certain.

    Outputs far from FP32's do if no rule judges them, and so do answers of which nothing is known.
    """
    judged = {verdict.row.key: verdict.row for verdict in gate.verdicts if verdict.row is not None}
    rules = {metric_name(verdict.rule.metric) for verdict in gate.verdicts}
    of_answers = rules & {"agreement", "sqnr_db", "worst_part_sqnr_db", *(metric.name for metric in comparison.metrics)}
    doubts = []
    for row in judged.values() if judged else judged_rows(comparison):
        name, worst = wording.row_name(row, comparison.rows), row.worst_output
        loss = loss_of(row, comparison)
        if loss is not None and loss.kind == "unknown":
            doubts.append(loss.of(name))
        elif worst is not None and worst[1] < FAR_DB and not of_answers:
            doubts.append(f"{worst[0]} of {name} is far from FP32's ({wording.sqnr(worst[1])} dB)")
    return list(dict.fromkeys(doubts))


def _failures(gate: GateResult) -> str:
    return _named([_miss(v) for v in gate.verdicts if v.outcome == "fail"])


def _miss(verdict: Verdict) -> str:
    return f"{wording.subject(verdict)} misses {verdict.rule.in_words()} (measured {wording.measured(verdict)})"


def _named(items: Iterable[str]) -> str:
    """List the first few items without repetition, and count the rest."""
    items = list(dict.fromkeys(items))
    more = len(items) - MOST_NAMED_RULES
    return "; ".join(items[:MOST_NAMED_RULES]) + (f"; and {more} more" if more > 0 else "")


def _result(row: Row, comparison: Comparison) -> str:
    """Describe the result of a row in a sentence or two."""
    digits = percent_digits(comparison.samples)
    band = wording.speedup_band(row)
    clauses = [not_faster(row, comparison.rows) or wording.speed(row.speedup) + (f" ({band})" if band else "")]
    if row.agreement is not None:
        clauses.insert(0, f"agrees with FP32 on {wording.percent(row.agreement, digits)}")
    metric = next((metric for metric in wording.metrics_of(comparison) if metric.name in row.metrics), None)
    caveat = ""
    if metric is not None:
        clauses.insert(0, _accuracy(row, metric, digits))
        caveat = _caveat(row, metric, comparison, digits)
    elif row.agreement is not None:
        clauses[0] += f" of {wording.counted(comparison.samples, 'unlabelled sample')}"
    text = f"{wording.row_name(row, comparison.rows)} {_listed(clauses)}.{caveat}"
    worst = row.worst_output
    if wording.has_broken_outputs(row):
        text += " Its outputs are not finite, or nothing but noise."
    elif worst is not None and worst[1] < FAR_DB:
        what = "is noise" if worst[1] < NOISE_DB else "is far from FP32's"
        text += f" {worst[0][:1].upper()}{worst[0][1:]} {what}, with an SQNR of {wording.sqnr(worst[1])} dB."
    if row.is_int8_by_name_only:
        text += f" It is INT8 by name only: no layer of it ran in INT8, but in {row.executed_precision}."
    return text


def _accuracy(row: Row, metric: Metric, digits: int) -> str:
    figure, drop = row.metrics[metric.name], row.drop.get(metric.name)
    told = []
    if band := wording.band(metric, figure, digits):  # first, so that it is not read as that of the loss
        told.append(f"95 % interval {band}")
    if drop is not None:
        told.append("the same as FP32" if drop == 0 else f"{wording.loss(metric, drop)} against FP32")
    shown = wording.value(metric, figure.value, digits)
    if metric.is_share:
        worse = "falls to" if metric.better == "higher" else "rises to"
        shown = f"{'keeps' if drop is None or drop <= KEEPS else worse} {shown} {metric.title}"
    else:
        shown = f"has a {metric.title} of {shown}"
    return f"{shown} ({'; '.join(told)})" if told else shown


def _caveat(row: Row, metric: Metric, comparison: Comparison, digits: int) -> str:
    """Say if the change from FP32 may be chance; empty if nothing changed, or if this is unknown.

    The interval alone overstates the uncertainty, because both ran on the same samples. Only samples whose answer
    changed count, so the paired test decides.
    """
    figure, drop = row.metrics[metric.name], row.drop.get(metric.name, 0.0)
    count = comparison.labelled or comparison.samples
    change = row.changes.get(metric.name)
    if round(drop * count) == 0 if metric.is_share else drop == 0:
        return ""
    what = "loss" if drop > 0 else "gain"
    fp32 = figure.value + (drop if metric.better == "higher" else -drop)
    within = _within(metric, figure, fp32, digits)
    if change is None:
        return f" {within}{wording.counted(count, 'sample')} cannot tell this {what} from chance." if within else ""
    comma = "" if metric.paired_test == "McNemar" else ","
    tested = f"({metric.paired_test}{comma} p = {change.p_value:.2g})."
    if change.p_value < SIGNIFICANT:
        return f" The {what} is more than chance {tested}"
    return f" {within}{wording.counted(count, 'sample')} cannot tell this {what} from chance {tested}"


def _within(metric: Metric, figure: Interval, fp32: float, digits: int) -> str:
    """Say that FP32's figure lies within the interval; empty if it does not."""
    inside = figure.low is not None and figure.high is not None and figure.low <= fp32 <= figure.high
    return f"FP32's {wording.value(metric, fp32, digits)} lies within that interval: " if inside else ""


def _listed(clauses: Sequence[str]) -> str:
    """Join clauses: ``a and b``; ``a, b, and c``."""
    return " and ".join(clauses) if len(clauses) < 3 else f"{', '.join(clauses[:-1])}, and {clauses[-1]}"
