"""Classification: the answer is the class with the highest score, or yes for a score above a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Interval
from quantkit.core.errors import BadData
from quantkit.core.figures import Metric
from quantkit.datasets.base import Dataset
from quantkit.graph.model_io import ModelInput
from quantkit.measure.intervals import mean_interval, wilson_interval
from quantkit.tasks.base import Caption, Kept, Outputs, Result, Task
from quantkit.tasks.class_outputs import Decision
from quantkit.tasks.sample_scores import SampleScores, Scores

DEPTHS = {"top1": 1, "top5": 5}  # the label must be among so many of the highest scores
NEAR_CHANCE = 2.0  # times chance; with a lower FP32 accuracy the preprocessing is probably wrong
NO_ANSWER = -1  # the answer for scores that are not finite, and the label of a sample without one


@dataclass(frozen=True, eq=False)
class ClassAnswers:
    """The answers of one batch: one for each sample, or for each of P places in it, such as time steps.

    Attributes:
        scores: (N, classes), or (N, P, classes).
        best: The class with the highest score, (N,) or (N, P) int32; -1 if the scores are not finite.
        confidence: The Softmax of the highest score, of the same shape, float32, 0 to 1.
    """

    scores: npt.NDArray[Any]
    best: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]


class Classification(Task):
    """The classification task. An annotation is the index of the right class.

    Args:
        decision: The output with the scores, and how they decide; the first output by default.
    """

    name = "classification"
    metrics = (
        Metric(
            name="top1", title="top-1", unit="share", interval=True, hint="Share of samples whose label scores best"
        ),
        Metric(
            name="top5",
            title="top-5",
            unit="share",
            interval=True,
            hint="Share of samples whose label is among the five best",
        ),
    )

    def __init__(self, decision: Decision | None = None) -> None:
        self.decision = decision or Decision()

    def decode(self, outputs: Outputs) -> ClassAnswers | None:
        """Return the answers in the output that decides; None if it is not class scores."""
        output = outputs.get(self.decision.output or next(iter(outputs), ""))
        if output is None:
            return None
        if self.decision.threshold is not None:
            return _yes_or_no(output, self.decision.threshold)
        scores = class_scores(output, self.decision.axis)
        if scores is None:
            return None
        flat = scores.reshape(-1, scores.shape[-1])
        best, confidence = best_of(flat)
        finite = np.isfinite(flat).all(axis=1) if flat.dtype.kind == "f" else np.ones(len(flat), np.bool_)
        best = np.where(finite, best, NO_ANSWER).astype(np.int32)
        return ClassAnswers(scores, best.reshape(scores.shape[:-1]), confidence.reshape(scores.shape[:-1]))

    def scorer(self) -> ClassScorer:
        """Make a scorer."""
        return ClassScorer(self.metrics)

    def describe_answers(self) -> str:
        """Return which output decides, and how."""
        return str(self.decision)

    def check(self, outputs: Sequence[ModelInput], dataset: Dataset) -> None:
        """Raise BadData if classes or labels do not fit the shape of the output, as far as it is fixed."""
        own = next((one for one in outputs if one.name == self.decision.output), outputs[0])
        count = 2 if self.decision.threshold is not None else class_count(own, self.decision.axis)
        if count is not None:
            check_classes(dataset, count)

    def check_answers(self, answers: ClassAnswers, dataset: Dataset) -> None:
        """Raise BadData if classes or labels do not fit the scores."""
        check_classes(dataset, answers.scores.shape[-1])

    def keep(self, answers: ClassAnswers) -> Kept:
        """Return ``answers`` (N,) int32 and ``confidences`` (N,) float32; nothing for several answers a sample."""
        if answers.best.ndim > 1:
            return {}
        return {"answers": answers.best, "confidences": answers.confidence}

    def keep_annotations(self, annotations: Sequence[Any]) -> npt.NDArray[np.int32]:
        """Return labels, -1 for samples without one."""
        return labels_of(annotations).astype(np.int32)

    def stored_fault(self, kept: Kept, annotations: npt.NDArray[Any], classes: Sequence[str]) -> str:
        """Answers and labels must be among the classes, if those have names."""
        if not classes or max(kept["answers"].max(initial=-1), annotations.max(initial=-1)) < len(classes):
            return ""
        return "it has answers beyond its classes"

    def agree(self, first: Kept, second: Kept) -> npt.NDArray[np.bool_]:
        """Return True for samples with the same class in both."""
        same: npt.NDArray[np.bool_] = (first["answers"] == second["answers"]) & (first["answers"] != NO_ANSWER)
        return same

    def right(self, kept: Kept, annotations: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return True for samples whose class is the label."""
        right: npt.NDArray[np.bool_] = (kept["answers"] == annotations) & self.annotated(annotations)
        return right

    def annotated(self, annotations: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return True for samples with a label."""
        labelled: npt.NDArray[np.bool_] = annotations >= 0
        return labelled

    def caption(self, kept: Kept, sample: int, classes: Sequence[str]) -> Caption:
        """Return the name of the class and its confidence."""
        return Caption(class_name(int(kept["answers"][sample]), classes), float(kept["confidences"][sample]))

    def annotation_caption(self, annotations: npt.NDArray[Any], sample: int, classes: Sequence[str]) -> str:
        """Return the name of the label."""
        label = int(annotations[sample])
        return class_name(label, classes) if label >= 0 else ""


class ClassScorer:
    """Counts answers equal to the label, and answers equal to FP32's.

    Of several answers a sample, each sample's share of equal ones counts, and there is no label.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._scores = SampleScores(metrics)
        self._equal = self._answers = self._classes = 0
        self._shares: list[npt.NDArray[np.float64]] = []

    def update(self, answers: ClassAnswers, reference: ClassAnswers, annotations: Sequence[Any] | None) -> None:
        """Count one batch of both models' answers."""
        self._classes = answers.scores.shape[-1]
        if reference.best.ndim > 1 or answers.best.ndim > 1:
            self._shares.append(_equal_shares(answers.best, reference.best))
            return
        self._equal += int(((answers.best == reference.best) & (answers.best != NO_ANSWER)).sum())
        self._answers += len(answers.best)
        if annotations is not None:
            labels = labels_of(annotations)
            self._scores.update(hits(answers.scores, labels), hits(reference.scores, labels))

    def result(self) -> Result:
        """Return the shares of right answers and of answers equal to FP32's, each with Wilson's interval."""
        metrics = self._scores.metrics()
        agreement = wilson_interval(self._equal, self._answers) if self._answers else None
        if self._shares:
            found = mean_interval(np.concatenate(self._shares))
            low, high = (None if end is None else min(max(end, 0.0), 1.0) for end in (found.low, found.high))
            agreement = Interval(value=found.value, low=low, high=high)
        return Result(metrics, self._scores.changes(), agreement, self._warnings(metrics.get("top1")))

    def _warnings(self, top1: Any) -> tuple[str, ...]:
        if top1 is None or top1.value >= NEAR_CHANCE / self._classes:
            return ()
        return (
            f"FP32 accuracy is {100 * top1.value:.1f} %, near chance for {self._classes} classes: "
            "the preprocessing or the order of classes is probably wrong.",
        )


def hits(scores: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> Scores:
    """Score each sample by whether its label is among the highest 1 or 5 scores.

    A row of scores that is not finite is not a hit. With five classes or fewer, top5 is meaningless and left out.

    Args:
        scores: (N, classes).
        labels: The label of each sample, (N,); -1 for samples without one.

    Returns:
        For "top1" and "top5", (N,) float64: 1 for a hit, 0 for none, NaN without a label.
    """
    known = labels >= 0
    rows, own_labels = scores[known], labels[known]
    own = rows[np.arange(len(rows)), own_labels][:, None]
    # The rank is the number of classes with a higher score; of equal scores the lower index comes first, as in argmax.
    index = np.arange(scores.shape[1])[None, :]
    rank = ((rows > own) | ((rows == own) & (index < own_labels[:, None]))).sum(axis=1)
    finite = np.isfinite(rows).all(axis=1)
    found = {}
    for name, depth in DEPTHS.items():
        if depth == 1 or scores.shape[1] > depth:
            values = np.full(len(labels), np.nan)
            values[known] = (rank < depth) & finite
            found[name] = values
    return found


def _equal_shares(best: npt.NDArray[np.int32], reference: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """Return the share of each sample's answers that are equal, (N,) float64; 0 for another number of answers."""
    if best.shape != reference.shape:
        return np.zeros(len(reference))
    equal = ((best == reference) & (best != NO_ANSWER)).reshape(len(best), -1)
    return equal.mean(axis=1) if equal.shape[1] else np.ones(len(best))


def _yes_or_no(output: npt.NDArray[Any], threshold: float) -> ClassAnswers:
    """Return answers 1 (yes) for scores above the threshold, and 0 (no) for others; one for each value."""
    values = output.reshape(len(output), -1).astype(np.float64)
    with np.errstate(invalid="ignore"):
        best = np.where(np.isfinite(values), values > threshold, NO_ANSWER).astype(np.int32)
        confidence = np.nan_to_num(np.where(best == 1, values, 1 - values)).clip(0, 1).astype(np.float32)
    scores = np.stack([np.full_like(values, threshold), values], axis=-1)
    if values.shape[1] == 1:
        return ClassAnswers(scores[:, 0], best[:, 0], confidence[:, 0])
    return ClassAnswers(scores, best, confidence)


def class_scores(output: npt.NDArray[Any], axis: int | None = None) -> npt.NDArray[Any] | None:
    """Return an output as (N, classes) or (N, P, classes) scores.

    Args:
        output: The output, with samples along the first axis.
        axis: The axis of a sample along which classes lie; None takes the first, if all others are 1.

    Returns:
        The scores; None if the output is not class scores.
    """
    if axis is not None:
        if axis + 1 >= output.ndim:
            return None
        moved = np.moveaxis(output, axis + 1, -1)
        scores = moved.reshape(len(moved), -1, moved.shape[-1])
        return scores[:, 0] if scores.shape[1] == 1 else scores
    scores = output.reshape(output.shape[0], -1) if output.ndim > 2 and output[0].size == output.shape[1] else output
    return scores if scores.ndim == 2 and scores.shape[1] >= 2 else None


def class_count(output: ModelInput, axis: int | None = None) -> int | None:
    """Return the number of classes of an output; None if it is not class scores, or if the shape is dynamic."""
    rest = output.sample_shape
    if axis is not None:
        count = rest[axis] if axis < len(rest) else None
    else:
        count = rest[0] if rest and all(dimension == 1 for dimension in rest[1:]) else None
    return count if isinstance(count, int) and count >= 2 else None


def best_of(scores: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Return the best class of each row of (N, classes), and its share after Softmax.

    If the scores are shares already, no Softmax is applied. A row that is not finite has confidence 0.
    """
    values = scores.astype(np.float64)
    best = values.argmax(axis=1)
    top = values[np.arange(len(values)), best]
    with np.errstate(all="ignore"):
        shares = bool((values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=1e-3))
        confidence = top if shares else 1 / np.exp(values - top[:, None]).sum(axis=1)
    return best.astype(np.int32), np.nan_to_num(confidence).astype(np.float32)


def labels_of(annotations: Sequence[Any]) -> npt.NDArray[np.int64]:
    """Return annotations as class indices, int64 (N,), -1 for None. Raises BadData if one is not an integer."""
    for annotation in annotations:
        if annotation is not None and not isinstance(annotation, (int, np.integer)):
            raise BadData(
                f"The label {annotation!r:.40} is no class index.",
                "Give whole numbers, in the order of the model's outputs.",
            )
    return np.array([NO_ANSWER if annotation is None else int(annotation) for annotation in annotations], np.int64)


def class_name(number: int, classes: Sequence[str]) -> str:
    """Return the display name of a class."""
    if number < 0:
        return "no answer"
    return classes[number] if classes else f"class {number}"


def check_classes(dataset: Dataset, count: int) -> None:
    """Raise BadData if classes or labels do not fit a model with ``count`` classes."""
    if dataset.annotations is None:
        return
    named = len(dataset.classes)
    if named and named != count:
        raise BadData(
            f"{dataset.source} has {named} classes, but the model has {count} outputs.",
            "Name the outputs' classes in order in [data] classes, or check that this is the right model.",
        )
    labels = labels_of(dataset.annotations)
    worst = int(labels.max(initial=NO_ANSWER))
    if worst >= count:
        raise BadData(
            f"{dataset.source} has the label {worst}, outside the model's classes 0 to {count - 1}.",
            "Check the labels, or that this is the right model.",
        )
