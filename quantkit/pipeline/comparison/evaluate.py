"""Evaluates candidates on the evaluation data: their answers, metrics and output noise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Change, Interval, OutputError
from quantkit.core.errors import BadConfig, NothingEvaluated
from quantkit.core.predictions import Predictions
from quantkit.core.progress import Progress, silent
from quantkit.core.wording import some
from quantkit.datasets import Batch, Dataset, Stream, Unreadable
from quantkit.datasets.stream import Sample, Shape, shape_of, stacked
from quantkit.measure.sqnr import OutputNoise, Parts
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.pipeline.comparison.reference import Reference
from quantkit.pipeline.run_files import ABOUT_SAMPLES
from quantkit.targets import Session
from quantkit.tasks import Outputs, Result, Scorer, Task
from quantkit.tasks.base import answers_of
from quantkit.tasks.own_metric import OwnMetric
from quantkit.tasks.own_scores import OwnScores, check_defined
from quantkit.tasks.sample_scores import Scores


@dataclass(frozen=True)
class Evaluation:
    """The results of all candidates.

    Attributes:
        results: The task's results, by candidate key.
        reference: The task's result of FP32 in onnxruntime.
        sqnr_db: The SQNR of the worst output, by candidate key.
        outputs: The errors of all outputs and their parts, by candidate key; the reference has none.
        predictions: The answers; None if the task stores none.
        common: Samples of the most common shape: a batch, or a single one if shapes differ.
        readable: The indices of all samples that could be read.
        samples: The number of samples that could be read.
        labelled: The number of those with an annotation.
        warnings: Warnings about skipped samples.
    """

    results: dict[str, Result]
    reference: Result
    sqnr_db: dict[str, float | None]
    outputs: dict[str, tuple[OutputError, ...]]
    predictions: Predictions | None
    common: Batch
    readable: list[int]
    samples: int
    labelled: int
    warnings: tuple[str, ...]


def evaluate(
    candidates: Sequence[Candidate],
    stream: Stream,
    task: Task,
    own_metrics: Sequence[OwnMetric] = (),
    step: int = 1,
    progress: Progress = silent,
    reference: Reference | None = None,
) -> Evaluation:
    """Run every sample through every candidate, and compare the outputs with those of FP32 in onnxruntime.

    Args:
        candidates: The candidates.
        stream: The evaluation samples.
        task: The task, which decides the metrics.
        own_metrics: The user's own metrics.
        step: The number of samples in one run of the model.
        progress: Displays the progress.
        reference: FP32 in onnxruntime; None takes the first FP32 candidate for it.

    Returns:
        The results of all candidates.

    Raises:
        BadData: The annotations do not fit the answers.
        NothingEvaluated: No sample can be read.
    """
    reference = reference or Reference(next(c.session for c in candidates if c.is_reference))
    dataset = stream.dataset
    first: Batch | None = None
    counts: dict[str, _Count] = {}
    shapes = _ShapesSeen()
    kept = _Kept(task)
    sessions = {candidate.key: candidate.session for candidate in candidates}
    if reference.key not in sessions:
        sessions = {reference.key: reference.session} | sessions
    with progress("evaluating", len(stream.indices), "samples") as advance:
        for batch in stream.batches(step):
            count = len(batch.indices)
            shapes.note(batch)
            annotations = None if dataset.annotations is None else [dataset.annotations[i] for i in batch.indices]
            known = annotations or [None] * count
            answered = partial(_answered, reference, task, own_metrics, batch, step, known, dataset)
            expected = answered(reference.session)
            if first is None:
                first = batch
                own_metrics = [replace(one, of_all_samples=one.metric.name not in expected.own) for one in own_metrics]
                answered = partial(_answered, reference, task, own_metrics, batch, step, known, dataset)
                parts = reference.parts(batch, step, expected.outputs)
                counts = {key: _Count(task, own_metrics, parts) for key in sessions}
                if annotations is not None and expected.answers is not None:
                    task.check_answers(expected.answers, dataset)
            answers = {}
            for key, session in sessions.items():
                own = expected if key == reference.key else answered(session)
                counts[key].update(own, expected, annotations, count)
                answers[key] = own.answers
            kept.update(batch.indices, {candidate.key: answers[candidate.key] for candidate in candidates})
            advance(count)
    if first is None:
        raise NothingEvaluated(f"No sample of {dataset.source} could be evaluated.", "Check the files.")
    readable = [index for position, index in enumerate(stream.indices) if position not in stream.skipped]
    results = {key: own.result() for key, own in counts.items()}
    check_defined(own_metrics, results[reference.key].metrics)
    measured = any(result.metrics for result in results.values())
    return Evaluation(
        results=results,
        reference=results[reference.key],
        sqnr_db={key: count.noise.sqnr_db for key, count in counts.items()},
        outputs={key: count.noise.errors() for key, count in counts.items() if key != reference.key},
        predictions=kept.predictions(dataset, stream.indices),
        common=shapes.common(stream, first),
        readable=readable,
        samples=len(readable),
        labelled=_labelled(dataset, readable) if measured else 0,
        warnings=_skipped(stream),
    )


class _ShapesSeen:
    """How many samples had each shape, and the first of them."""

    def __init__(self) -> None:
        self._counts: Counter[Shape] = Counter()
        self._first: dict[Shape, int] = {}

    def note(self, batch: Batch) -> None:
        """Count a batch, whose samples have one shape."""
        count = len(batch.indices)
        shape = shape_of(batch.resized(1))
        self._counts[shape] += count
        self._first.setdefault(shape, batch.indices[0])

    def common(self, stream: Stream, first: Batch) -> Batch:
        """Return samples of the most common shape, the largest of those that are equally common."""
        if len(self._counts) == 1:
            return first
        most = max(self._counts, key=lambda shape: (self._counts[shape], shape))
        index = self._first[most]
        try:
            inputs, _ = stream.dataset.load(index)
        except Unreadable:  # it was read a while ago
            return first
        return stacked([Sample(0, index, inputs)], stream.axes)


def _labelled(dataset: Dataset, readable: Sequence[int]) -> int:
    known = dataset.annotations
    return 0 if known is None else sum(known[i] is not None for i in readable)


@dataclass(frozen=True)
class _Answered:
    """One candidate's outputs for one batch, and what the task and the user's own metrics make of them."""

    outputs: Outputs
    answers: Any
    own: Scores


def _answered(
    reference: Reference,
    task: Task,
    own_metrics: Sequence[OwnMetric],
    batch: Batch,
    step: int,
    annotations: Sequence[Any],
    dataset: Dataset,
    session: Session,
) -> _Answered:
    """Run one batch with its annotations, filled up to ``step`` samples."""
    outputs = reference.by_sample(session.infer(batch.resized(step)), step, len(annotations))
    values = {one.metric.name: one.values(outputs, annotations) for one in own_metrics}
    own = {name: found for name, found in values.items() if found is not None}
    return _Answered(outputs, answers_of(task, outputs, batch, dataset), own)


class _Count:
    """The measurements of one candidate so far."""

    def __init__(self, task: Task, own_metrics: Sequence[OwnMetric], parts: Mapping[str, Parts]) -> None:
        self.noise = OutputNoise(parts)
        self._scorer: Scorer = task.scorer()
        self._own_scores = OwnScores(own_metrics)

    def update(self, own: _Answered, reference: _Answered, annotations: Sequence[Any] | None, count: int) -> None:
        """Count one batch of ``count`` samples."""
        self.noise.update(reference.outputs, own.outputs)
        if own.answers is not None and reference.answers is not None:
            self._scorer.update(own.answers, reference.answers, annotations)
        self._own_scores.update(own.own, reference.own, own.outputs, annotations or [None] * count)

    def result(self) -> Result:
        """Return the task's figures, then those of the user's own metrics."""
        found = self._scorer.result()
        metrics: dict[str, Interval] = {**found.metrics, **self._own_scores.metrics()}
        changes: dict[str, Change] = {**found.changes, **self._own_scores.changes()}
        drops = {**found.drops, **self._own_scores.drops()}
        return replace(found, metrics=metrics, changes=changes, drops=drops)


@dataclass
class _Kept:
    """The answers of all candidates, as the task stores them: a few bytes per sample."""

    task: Task
    indices: list[int] = field(default_factory=list)
    parts: dict[str, dict[str, list[npt.NDArray[Any]]]] = field(default_factory=dict)  # by array, by candidate

    def update(self, indices: Sequence[int], answers: dict[str, Any]) -> None:
        """Add one batch of every candidate's answers."""
        if any(own is None for own in answers.values()):
            return
        kept = {key: self.task.keep(own) for key, own in answers.items()}
        if not all(kept.values()):
            return
        self.indices += indices
        for key, arrays in kept.items():
            for name, values in arrays.items():
                first = self.parts.get(name, {}).get(key, [values])[0]
                if name in ABOUT_SAMPLES or len(values) != len(indices) or first.shape[1:] != values.shape[1:]:
                    raise BadConfig(
                        f"The task {self.task.name!r} keeps {name!r} of shape {values.shape} for {len(indices)} "
                        f"samples, after {first.shape[1:]} a sample.",
                        f"Keep one shape for every sample, filled up where need be; no {', '.join(ABOUT_SAMPLES)}.",
                    )
                self.parts.setdefault(name, {}).setdefault(key, []).append(values)

    def predictions(self, dataset: Dataset, chosen: Sequence[int]) -> Predictions | None:
        """Return all answers, in the order in which samples were chosen; None if the task stores none."""
        if not self.parts:
            return None
        places = {index: position for position, index in enumerate(chosen)}
        order = sorted(range(len(self.indices)), key=lambda row: places[self.indices[row]])
        indices = [self.indices[row] for row in order]
        annotations = [None if dataset.annotations is None else dataset.annotations[i] for i in indices]
        return Predictions(
            names=tuple(dataset.names[index] for index in indices),
            classes=tuple(self.task.class_names(dataset)),
            labels=self.task.keep_annotations(annotations),
            keys=tuple(next(iter(self.parts.values()))),
            kept={
                name: np.stack([np.concatenate(parts)[order] for parts in by_candidate.values()])
                for name, by_candidate in self.parts.items()
            },
        )


def _skipped(stream: Stream) -> tuple[str, ...]:
    if not stream.skipped:
        return ()
    named = some([f"{stream.names[position]} ({why})" for position, why in stream.skipped.items()])
    return (f"{len(stream.skipped)} images could not be read and were skipped: {named}",)
