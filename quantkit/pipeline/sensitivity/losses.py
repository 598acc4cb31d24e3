"""Measures the outputs of many variants of a model against those in floating point, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.sensitivity import Loss
from quantkit.datasets import Batch, Dataset
from quantkit.graph.model_file import ModelFile
from quantkit.measure.divergence import divergence
from quantkit.measure.sqnr import OutputNoise, Parts
from quantkit.pipeline.comparison.reference import parts_of
from quantkit.tasks import Outputs, Result, Task
from quantkit.tasks.base import answers_of
from quantkit.tasks.classification import ClassAnswers, Classification


class Losses:
    """The losses of several cases.

    Args:
        count: The number of cases.
        model: The user's model.
        dataset: The samples, with their annotations.
        task: The task.
    """

    def __init__(self, count: int, model: ModelFile, dataset: Dataset, task: Task) -> None:
        self._model, self._dataset, self._task = model, dataset, task
        self._parts: dict[str, Parts] | None = None
        self._cases: list[_Case | None] = [None] * count
        self._floating = _Case(task, {})
        self._lock = Lock()

    def take(self, number: int, expected: Outputs, own: Outputs, batch: Batch) -> None:
        """Count a batch of one case: see :data:`~quantkit.pipeline.simulation.evaluate.Taken`."""
        annotations = self._annotations(batch)
        answers = answers_of(self._task, expected, batch, self._dataset)
        with self._lock:
            if self._parts is None:
                self._parts = parts_of(self._model, batch, self._model.fixed_batch or 1, expected)
                if annotations is not None and answers is not None:
                    self._task.check_answers(answers, self._dataset)
            case = self._cases[number] = self._cases[number] or _Case(self._task, self._parts)
            if number == 0:
                self._floating.update(expected, expected, answers, answers, annotations)
        found = answers if own is expected else answers_of(self._task, own, batch, self._dataset)
        case.update(expected, own, answers, found, annotations)

    def _annotations(self, batch: Batch) -> Sequence[Any] | None:
        known = self._dataset.annotations
        return None if known is None else [known[index] for index in batch.indices]

    def floating(self) -> dict[str, float]:
        """Return the task's metrics in floating point."""
        return {name: figure.value for name, figure in self._floating.result().metrics.items()}

    def losses(self) -> list[Loss]:
        """Return the loss of each case."""
        floating = self.floating()
        return [case.loss(floating) for case in self._cases if case is not None]


class _Case:
    """The measurements of one case so far."""

    def __init__(self, task: Task, parts: Mapping[str, Parts]) -> None:
        self._task, self._noise, self._scorer = task, OutputNoise(parts), task.scorer()
        self._divergence, self._rows = 0.0, 0

    def update(
        self, expected: Outputs, own: Outputs, answers: Any, found: Any, annotations: Sequence[Any] | None
    ) -> None:
        """Count one batch, in which ``answers`` are those in floating point, and ``found`` the case's own."""
        self._noise.update(expected, own)
        if answers is not None and found is not None:
            self._scorer.update(found, answers, annotations)
        if self._has_shares and isinstance(answers, ClassAnswers) and isinstance(found, ClassAnswers):
            self._diverge(answers.scores, found.scores)

    def _diverge(self, expected: npt.NDArray[Any], own: npt.NDArray[Any]) -> None:
        if expected.shape == own.shape:
            rows = divergence(*(scores.reshape(-1, scores.shape[-1]) for scores in (expected, own)))
            self._divergence += float(rows.sum())
            self._rows += len(rows)

    @property
    def _has_shares(self) -> bool:
        return isinstance(self._task, Classification) and self._task.decision.threshold is None

    def result(self) -> Result:
        """Return the task's figures."""
        return self._scorer.result()

    def loss(self, floating: Mapping[str, float]) -> Loss:
        """Return all figures; ``floating`` holds the metrics in floating point."""
        result, errors = self.result(), self._noise.errors()
        each = [error.sqnr_db for error in errors if error.has_sqnr and error.sqnr_db is not None]
        kl = self._divergence / self._rows if self._rows else math.inf
        own = {name: figure.value for name, figure in result.metrics.items()}
        return Loss(
            sqnr_db=min(each, default=None),
            kl=kl if np.isfinite(kl) else None,
            agreement=None if result.agreement is None else result.agreement.value,
            metrics=own,
            drop={
                metric.name: result.drops.get(metric.name, metric.loss(floating[metric.name], own[metric.name]))
                for metric in self._task.metrics
                if metric.name in own and metric.name in floating and not metric.of_fp32
            },
            outputs=errors if len(errors) > 1 else (),
        )
