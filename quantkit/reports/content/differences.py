"""The differences between two runs: figures, ranges and circumstances, and which are more than chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from quantkit.core.calibration import Calibration, TensorCalibration
from quantkit.core.comparison import Comparison, Row
from quantkit.core.figures import Metric
from quantkit.core.predictions import Predictions
from quantkit.gates.figure import counterpart, figure
from quantkit.gates.loss import SIGNIFICANT
from quantkit.gates.rule import metric_name
from quantkit.measure.paired import change
from quantkit.reports import wording
from quantkit.reports.content.changed import Changed, changed_between, task_of
from quantkit.reports.content.verdict import judged_rows

Outcome = Literal["better", "worse", "no clear difference", "same", "not comparable"]
SMALLEST_DB = 0.05  # SQNRs with a smaller difference are the same
SMALLEST_SIZE = 0.005  # sizes with a smaller relative difference are the same


@dataclass(frozen=True)
class FigureDifference:
    """A figure in two runs, in the file's units.

    Attributes:
        metric: The path of the figure in a row.
        meaning: The metric.
        before: The figure in the earlier run.
        after: The figure in the later run.
        outcome: The judgement of the difference.
        reason: What the judgement is based on.
    """

    metric: str
    meaning: Metric
    before: float
    after: float
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True)
class RowDifference:
    """The rows of one target, precision, device and batch in two runs; None if a run has no such row."""

    before: Row | None
    after: Row | None
    figures: tuple[FigureDifference, ...] = ()

    @property
    def row(self) -> Row:
        """The later run's row if it has one, else the earlier run's."""
        found = self.after or self.before
        assert found is not None
        return found


@dataclass(frozen=True)
class RangeDifference:
    """The range of a tensor in two runs."""

    tensor: str
    before: TensorCalibration
    after: TensorCalibration

    @property
    def ratio(self) -> float:
        """The later amax divided by the earlier one; 1 for two dead tensors."""
        if self.before.amax == self.after.amax:
            return 1.0
        return self.after.amax / self.before.amax if self.before.amax else math.inf


@dataclass(frozen=True)
class LayerDifference:
    """The SQNR in dB of a layer of an INT8 model in two runs; ``row`` is the later run's."""

    row: Row
    layer: str
    before: float
    after: float

    @property
    def change(self) -> float:
        """The change in dB; negative if the later run has the larger error."""
        return self.after - self.before


@dataclass(frozen=True)
class Fact:
    """A circumstance of two runs, in words."""

    title: str
    before: str
    after: str

    @property
    def differs(self) -> bool:
        """True if the runs differ in it."""
        return self.before != self.after


def row_differences(before: Comparison, after: Comparison) -> list[RowDifference]:
    """Pair the rows of two runs: first all rows of the later run, then those that only the earlier one has."""
    found, met = [], []
    for row in after.rows:
        other = counterpart(before, row)
        met.append(other)
        figures = tuple(_figures(before, other, after, row)) if other is not None else ()
        found.append(RowDifference(other, row, figures))
    return found + [RowDifference(row, None) for row in before.rows if not any(row is other for other in met)]


def _figures(before: Comparison, own: Row, after: Comparison, row: Row) -> Iterator[FigureDifference]:
    metrics = [f"metrics.{name}.value" for name in row.metrics if name in own.metrics]
    for metric in (*metrics, "agreement", "sqnr_db", "latency_ms.p50", "size_bytes"):
        first, second = figure(before, own, metric), figure(after, row, metric)
        if first is None or second is None:
            continue
        meaning = after.metric(metric_name(metric))
        less = meaning.better == "lower"
        outcome: Outcome = "better" if (second.value > first.value) != less else "worse"
        reason = ""
        if _unlike(metric, before, after):
            outcome, reason = "not comparable", _unlike(metric, before, after)
        elif first.value == second.value:
            outcome = "same"
        elif metric == "sqnr_db":
            outcome = "same" if abs(first.value - second.value) < SMALLEST_DB else outcome
            if outcome != "same" and _same_answers(before, own, after, row):
                outcome, reason = "no clear difference", "every answer is the same"
        elif metric == "size_bytes":
            outcome = "same" if abs(second.value - first.value) < SMALLEST_SIZE * first.value else outcome
        elif metric.startswith("metrics."):
            p_value = _p_value(before, own, after, row) if metric == f"metrics.{after.main_metric}.value" else None
            if p_value is not None:
                outcome = outcome if p_value < SIGNIFICANT else "no clear difference"
                reason = f"McNemar's test, p = {p_value:.2g}"
            elif first.overlaps(second):
                outcome, reason = "no clear difference", "the intervals overlap"
        elif first.overlaps(second):
            what = "within the spread of the rounds" if meaning.of_the_machine else "the intervals overlap"
            outcome, reason = "no clear difference", what
        yield FigureDifference(metric, meaning, first.value, second.value, outcome, reason)


def _unlike(metric: str, before: Comparison, after: Comparison) -> str:
    """Return why this figure of the two runs cannot be compared; empty if it can."""
    if metric == "size_bytes":
        return ""
    if metric == "latency_ms.p50":
        same = before.environment.hardware == after.environment.hardware
        return "" if same else "measured on other hardware"
    return "" if before.data_sha256 == after.data_sha256 else "evaluated on other data"


def paired_answers(before: Comparison, own: Row, after: Comparison, row: Row) -> Predictions | None:
    """Combine the answers of two rows for the same samples.

    Args:
        before: The earlier comparison.
        own: The row of the earlier comparison.
        after: The later comparison.
        row: The row of the later comparison.

    Returns:
        The answers of both models, the earlier one first; None if a run stored no answers, or if the samples differ.
    """
    first, second = before.predictions, after.predictions
    if first is None or second is None or own.key not in first.keys or row.key not in second.keys:
        return None
    if first.names != second.names or not np.array_equal(first.labels, second.labels):
        return None
    mine, its = first.keys.index(own.key), second.keys.index(row.key)
    if before.task != after.task or first.kept.keys() != second.kept.keys():
        return None
    return Predictions(
        names=second.names,
        classes=second.classes,
        labels=second.labels,
        keys=("before", "after"),
        kept={name: np.stack([first.kept[name][mine], second.kept[name][its]]) for name in second.kept},
    )


def _same_answers(before: Comparison, own: Row, after: Comparison, row: Row) -> bool:
    """True if both models are known to give the same answer for every sample."""
    if own.agreement == row.agreement == 1:
        return True
    paired, task = paired_answers(before, own, after, row), task_of(after)
    if paired is None or task is None:
        return False
    return bool(task.agree(paired.of(0), paired.of(1)).all())


def _p_value(before: Comparison, own: Row, after: Comparison, row: Row) -> float | None:
    """Return the p-value of the exact McNemar test; None if the right answers of each sample are unknown."""
    paired, task = paired_answers(before, own, after, row), task_of(after)
    if paired is None or task is None or not task.judged_by_sample:
        return None
    known = task.annotated(paired.labels)
    was, is_ = (task.right(paired.of(model), paired.labels)[known] for model in (0, 1))
    if not known.any():
        return None
    return change(int((was & ~is_).sum()), int((is_ & ~was).sum()), int(known.sum())).p_value


def answers_changed(before: Comparison, after: Comparison) -> list[Changed]:
    """Return the changed answers of each INT8 model from the earlier run to the later one, independent of the batch."""
    found: dict[str, Changed] = {}
    task = task_of(after)
    for row in judged_rows(after) if task is not None else ():
        own = counterpart(before, row)
        paired = paired_answers(before, own, after, row) if own is not None else None
        if paired is not None and row.key not in found:
            assert task is not None
            found[row.key] = changed_between(task, row, paired, 0, 1, own)
    return list(found.values())


def layer_differences(before: Comparison, after: Comparison) -> list[LayerDifference]:
    """Return the layers whose SQNR differs between two runs, largest difference first, without bit-exact ones.

    Empty if the runs were evaluated on different data.
    """
    if _unlike("layer_errors", before, after):
        return []
    found = []
    for row in after.rows:
        own = counterpart(before, row)
        earlier = {error.tensor: error.sqnr_db for error in own.layer_errors} if own is not None else {}
        for error in row.layer_errors:
            was = earlier.get(error.tensor)
            if was is not None and error.sqnr_db is not None and abs(error.sqnr_db - was) >= SMALLEST_DB:
                found.append(LayerDifference(row, error.tensor, was, error.sqnr_db))
    return sorted(found, key=lambda difference: -abs(difference.change))


def range_differences(before: Calibration, after: Calibration) -> list[RangeDifference]:
    """Return the tensors whose amax differs between two runs, largest ratio first."""
    both = (
        RangeDifference(name, before.tensors[name], tensor)
        for name, tensor in after.tensors.items()
        if name in before.tensors
    )
    return sorted((d for d in both if d.ratio != 1), key=lambda d: -abs(math.log(d.ratio)) if d.ratio else -math.inf)


def facts(
    before: tuple[Calibration | None, Comparison | None], after: tuple[Calibration | None, Comparison | None]
) -> list[Fact]:
    """Describe how two runs were made; circumstances that neither records are left out."""
    first, second = _told(*before), _told(*after)
    return [Fact(title, first.get(title, wording.DASH), second.get(title, wording.DASH)) for title in first | second]


def _told(calibration: Calibration | None, comparison: Comparison | None) -> dict[str, str]:
    told: dict[str, str] = {}
    if calibration is not None:
        data, samples = calibration.data, wording.counted(calibration.samples, "sample")
        told |= {
            "Model": calibration.model.path,
            "Model's SHA-256": calibration.model.sha256,
            "Calibration data": f"{data.path}, {samples}, seed {calibration.seed}",
            "Calibration data's SHA-256": data.sha256,
            "Preprocessing": calibration.preprocess.describe(),
            "Method": calibration.method,
            "Left in floating point": ", ".join(calibration.exclude) or "nothing",
            "Calibrated with": _versions(calibration.versions),
            "Calibrated": calibration.created,
        }
    if comparison is not None:
        machine, samples = comparison.environment, wording.counted(comparison.samples, "sample")
        told |= {
            "Evaluation data": f"{comparison.data}, {samples}, {comparison.labelled} labelled",
            "Evaluation data's SHA-256": comparison.data_sha256,
            "Machine": f"{machine.hardware}, {machine.platform}",
            "Measured with": _versions({"quantkit": machine.quantkit, "Python": machine.python} | machine.packages),
            "Measured": machine.measured,
        }
    return told


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in versions.items())
