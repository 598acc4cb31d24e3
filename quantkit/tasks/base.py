"""What a model is for: the one place that knows what its outputs answer, and how good an answer is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Change, Interval
from quantkit.core.figures import Metric
from quantkit.datasets.base import Dataset
from quantkit.graph.model_file import ModelInput

Outputs = Mapping[str, npt.NDArray[Any]]
"""One batch of a model's outputs by name, samples along the first axis, in the model's order."""

Kept = Mapping[str, npt.NDArray[Any]]
"""What is kept of answers: arrays by name, samples along the first axis."""


@dataclass(frozen=True)
class Result:
    """What came of one model. ``changes`` tells how it differs from FP32 on the same samples, by metric.

    ``agreement`` is the share of answers equal to FP32's; None where the task has no such thing. ``warnings`` say what
    makes the figures doubtful.
    """

    metrics: Mapping[str, Interval] = field(default_factory=dict)
    changes: Mapping[str, Change] = field(default_factory=dict)
    agreement: Interval | None = None
    warnings: tuple[str, ...] = ()


class Scorer(Protocol):
    """Counts one model's answers, batch by batch, in memory that does not grow with the outputs."""

    def update(self, answers: Any, reference: Any, annotations: Sequence[Any] | None) -> None:
        """Count one batch.

        Args:
            answers: What :meth:`Task.decode` made of this model's outputs.
            reference: The same of FP32's outputs for the same samples.
            annotations: One for each sample, None where a sample has none; None for data without annotations.
        """

    def result(self) -> Result:
        """What has been counted."""


@dataclass(frozen=True)
class Caption:
    """An answer in words, and how sure the model is of it, 0 to 1; None where it does not say."""

    text: str
    confidence: float | None = None


class Task(Protocol):
    """What an annotation is, how outputs become answers, which metrics there are, and how a sample is shown.

    Subclass it for a task of your own, and install it under the entry-point group ``quantkit.tasks``. Only ``name``,
    ``metrics``, ``decode`` and ``scorer`` must be there.
    """

    name: str
    metrics: tuple[Metric, ...]

    def decode(self, outputs: Outputs) -> Any:
        """The answers in one batch of outputs; None for outputs that hold none of this task's."""

    def scorer(self) -> Scorer:
        """A new count, for one model."""

    def check(self, outputs: Sequence[ModelInput], dataset: Dataset) -> None:
        """Raise BadInput where annotations cannot belong to a model with these outputs."""
        return None

    def check_answers(self, answers: Any, dataset: Dataset) -> None:
        """Raise BadInput where answers show that the annotations are another model's."""
        return None

    def keep(self, answers: Any) -> Kept:
        """What ``predictions.npz`` keeps of one batch of answers; nothing by default: no sample is shown then."""
        return {}

    def keep_annotations(self, annotations: Sequence[Any]) -> npt.NDArray[Any]:
        """Annotations as an array, for ``predictions.npz``; samples along the first axis."""
        return np.zeros(len(annotations))

    def agree(self, first: Kept, second: Kept) -> npt.NDArray[np.bool_]:
        """True for every sample whose two answers are equal, (N,); only asked where answers are kept."""
        return np.array([all(np.array_equal(first[n][i], second[n][i]) for n in first) for i in range(_count(first))])

    def right(self, kept: Kept, annotations: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """True for every sample whose answer is right by its annotation, (N,); False where it has none."""
        return np.zeros(len(annotations), np.bool_)

    def annotated(self, annotations: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """True for every sample that has an annotation, (N,)."""
        return np.zeros(len(annotations), np.bool_)

    def caption(self, kept: Kept, sample: int, classes: Sequence[str]) -> Caption:
        """One kept answer as the report shows it."""
        return Caption(", ".join(str(values[sample]) for values in kept.values()))

    def annotation_caption(self, annotations: npt.NDArray[Any], sample: int, classes: Sequence[str]) -> str:
        """One kept annotation as the report shows it; empty where the sample has none."""
        return ""


def _count(kept: Kept) -> int:
    return len(next(iter(kept.values()), ()))
