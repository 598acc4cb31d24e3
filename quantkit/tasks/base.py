"""The interface of a task, which interprets a model's outputs as answers and scores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Change, Interval, Part
from quantkit.core.errors import BadConfig
from quantkit.core.figures import Metric
from quantkit.core.record import Record
from quantkit.datasets.base import Dataset
from quantkit.datasets.stream import Batch
from quantkit.graph.model_file import ModelFile
from quantkit.graph.model_io import ModelInput

Outputs = Mapping[str, npt.NDArray[Any]]
"""One batch of a model's outputs by name, in the model's order, with samples along the first axis."""

Kept = Mapping[str, npt.NDArray[Any]]
"""Stored answers: arrays by name, with samples along the first axis."""


class TaskSettings(Record):
    """What the user says of a model's answers; each task takes some of it.

    Attributes:
        head: What a detector's outputs mean: a preset such as "yolov8"; None tells it from the model.
        output: The output that holds the answers; None leaves it to the model.
        axis: Its axis along which the classes lie, as the model declares it; it may count from the end.
        threshold: The score above which an answer is yes, for scores of yes or no instead of classes.
        characters: A file with the characters that classes stand for, one a line.
        blank: The class that stands for no character; None means 0, and a negative one counts from the end.
    """

    head: str | None = None
    output: str | None = None
    axis: int | None = None
    threshold: float | None = None
    characters: Path | None = None
    blank: int | None = None

    def only(self, *keys: str) -> bool:
        """True if one of these is given. Raises BadConfig if anything else is."""
        own = {key for key in TaskSettings.model_fields if getattr(self, key) is not None}
        if own - {*keys}:
            raise BadConfig(f"This task takes no {min(own - {*keys})}.", "Leave it out, or name another task.")
        return bool(own)


@dataclass(frozen=True)
class Result:
    """The figures of one model.

    Attributes:
        metrics: The metrics by name.
        changes: The changes from FP32 on the same samples, by metric.
        drops: By how much metrics are worse than FP32's on the samples that both models could be scored on; only needed
            for metrics that leave out samples of one model alone.
        parts: The main metric for parts of what is to be found.
        agreement: The share of answers equal to FP32's; None if the task has no answers to compare.
        warnings: Reasons to doubt the figures.
    """

    metrics: Mapping[str, Interval] = field(default_factory=dict)
    changes: Mapping[str, Change] = field(default_factory=dict)
    agreement: Interval | None = None
    warnings: tuple[str, ...] = ()
    drops: Mapping[str, float] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()


class Scorer(Protocol):
    """Scores one model's answers batch by batch, in memory that does not grow with the outputs."""

    def update(self, answers: Any, reference: Any, annotations: Sequence[Any] | None) -> None:
        """Count one batch.

        Args:
            answers: The answers of this model, from :meth:`Task.decode`.
            reference: The answers of FP32 for the same samples.
            annotations: The annotation of each sample, None for samples without one; None for data without annotations.
        """

    def result(self) -> Result:
        """Return the figures so far."""


@dataclass(frozen=True)
class Caption:
    """An answer in words, and the model's confidence, 0 to 1; None if it has none."""

    text: str
    confidence: float | None = None


class Task(Protocol):
    """Defines annotations, answers, metrics, and the display of samples.

    To add a task, subclass this class and install it under the entry-point group ``quantkit.tasks``. Only ``name``,
    ``metrics``, ``decode`` and ``scorer`` are required.

    Attributes:
        has_answers: False if a sample has no answer that could agree with FP32's.
        annotated_by_text: True if what a list of labels says of a sample is a text, not a class.
        judged_by_sample: False if the main metric is no mean over samples, so that two runs are not compared by the
            samples that are right.
    """

    name: str
    metrics: tuple[Metric, ...]
    judged_by_sample: bool = True
    has_answers: bool = True
    annotated_by_text: bool = False

    @property
    def about(self) -> str:
        """What decides about answers, in a sentence."""
        told = self.describe_answers()
        return f"Answers: {told}." if told else f"Task: {self.name}."

    def fitted(self, model: ModelFile, settings: TaskSettings) -> Task:
        """Return the task for a model, as the user's settings say. Raises BadConfig if they do not fit."""
        settings.only()
        return self

    def answers(self, outputs: Outputs, inputs: Mapping[str, npt.NDArray[Any]]) -> Any:
        """Return the answers in one batch of outputs, for tasks that look at the inputs, too.

        By default this is :meth:`decode`. Inputs have samples along the first axis; those without a batch axis are left
        out.
        """
        return self.decode(outputs)

    def decode(self, outputs: Outputs) -> Any:
        """Return the answers in one batch of outputs; None if the outputs are not those of this task."""

    def of_samples(self, answers: Any, dataset: Dataset, indices: Sequence[int]) -> Any:
        """Return answers with what depends on the samples, such as boxes in the pixels of an image instead of an input.

        Args:
            answers: The answers of one batch.
            dataset: The data set.
            indices: The batch's samples.
        """
        return answers

    def scorer(self) -> Scorer:
        """Make a scorer for one model."""

    def describe_answers(self) -> str:
        """Return which answers agreement compares, in words; empty if that needs no word."""
        return ""

    def check(self, outputs: Sequence[ModelInput], dataset: Dataset) -> None:
        """Raise BadInput if the annotations do not fit a model with these outputs."""
        return None

    def check_answers(self, answers: Any, dataset: Dataset) -> None:
        """Raise BadInput if the answers show that the annotations are another model's."""
        return None

    def class_names(self, dataset: Dataset) -> Sequence[str]:
        """Return the names of the classes that answers refer to; by default the data's."""
        return dataset.classes

    def keep(self, answers: Any) -> Kept:
        """Return the arrays to store of one batch of answers. Without any (the default), no sample is shown."""
        return {}

    def keep_annotations(self, annotations: Sequence[Any]) -> npt.NDArray[Any]:
        """Return annotations as an array to store, with samples along the first axis."""
        return np.zeros(len(annotations))

    def stored_fault(self, kept: Kept, annotations: npt.NDArray[Any], classes: Sequence[str]) -> str:
        """Return what is wrong with stored answers of (K, N, ...) and annotations, in words; empty if nothing is."""
        return ""

    def agree(self, first: Kept, second: Kept) -> npt.NDArray[np.bool_]:
        """Return True for every sample whose two answers are equal, (N,). Only called if answers are stored."""
        return np.array([all(np.array_equal(first[n][i], second[n][i]) for n in first) for i in range(_count(first))])

    def right(self, kept: Kept, annotations: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return True for every sample whose answer is right, (N,); False for samples without annotation."""
        return np.zeros(len(annotations), np.bool_)

    def annotated(self, annotations: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return True for every sample that has an annotation, (N,)."""
        return np.zeros(len(annotations), np.bool_)

    def caption(self, kept: Kept, sample: int, classes: Sequence[str]) -> Caption:
        """Return a stored answer as the report shows it."""
        return Caption(", ".join(str(values[sample]) for values in kept.values()))

    def annotation_caption(self, annotations: npt.NDArray[Any], sample: int, classes: Sequence[str]) -> str:
        """Return a stored annotation as the report shows it; empty if the sample has none."""
        return ""


def answers_of(task: Task, outputs: Outputs, batch: Batch, dataset: Dataset) -> Any:
    """Return the answers in the outputs of a batch, with what depends on its samples; None if there are none."""
    found = task.answers(outputs, batch.by_sample)
    return None if found is None else task.of_samples(found, dataset, batch.indices)


def _count(kept: Kept) -> int:
    return len(next(iter(kept.values()), ()))
