"""No task: how close outputs are to FP32's, whatever they mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.figures import Metric
from quantkit.tasks.base import Outputs, Result, Task
from quantkit.tasks.sample_scores import SampleScores, Scores


class Fidelity(Task):
    """The task "none". Annotations are ignored; an answer is all floating-point outputs of a sample."""

    name = "none"
    has_answers = False
    metrics = (
        Metric(
            name="cosine",
            title="cosine similarity",
            hint="Cosine of the angle between an output and FP32's, of the worst output of each sample",
            of_fp32=True,
            digits=6,
        ),
        Metric(
            name="largest_error",
            title="largest error",
            better="lower",
            hint="Largest difference from FP32's outputs, in their own units",
            over_samples="max",
            of_fp32=True,
        ),
    )

    def decode(self, outputs: Outputs) -> Outputs | None:
        """Return the floating-point outputs; None if there are none."""
        floats = {name: values for name, values in outputs.items() if values.dtype.kind == "f"}
        return floats or None

    def scorer(self) -> FidelityScorer:
        """Make a scorer."""
        return FidelityScorer(self.metrics)


class FidelityScorer:
    """Scores cosine similarity and largest error of every sample, over outputs of the same shape in both models."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._scores = SampleScores(metrics)

    def update(self, answers: Outputs, reference: Outputs, annotations: Sequence[Any] | None) -> None:
        """Count one batch of both models' outputs."""
        found = fidelity(answers, reference)
        self._scores.update(found, found)

    def result(self) -> Result:
        """Return the mean cosine with its interval, and the largest error of all samples."""
        return Result(self._scores.metrics())


def fidelity(answers: Outputs, reference: Outputs) -> Scores:
    """Return the metrics of each sample, over outputs of the same shape in both models; none without such an output."""
    shared = [name for name in reference if name in answers and answers[name].shape == reference[name].shape]
    if not shared:
        return {}
    cosines = np.min([cosine(reference[name], answers[name]) for name in shared], axis=0)
    errors = np.max([largest_error(reference[name], answers[name]) for name in shared], axis=0)
    return {"cosine": cosines, "largest_error": errors}


def cosine(reference: npt.NDArray[Any], own: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return Σ a·b / (|a| |b|) of each sample, (N,) float64: 1 if both are zero, 0 if one is zero or not finite."""
    a, b = (values.reshape(len(values), -1).astype(np.float64) for values in (reference, own))
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        found = np.einsum("ij,ij->i", a, b) / norms
    equal = (a == b).all(axis=1)
    return np.where(equal, 1.0, np.where(np.isfinite(found), np.clip(found, -1, 1), 0.0))


def largest_error(reference: npt.NDArray[Any], own: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return max |a - b| of each sample, (N,) float64; the largest float32 if the difference is not finite."""
    a, b = (values.reshape(len(values), -1).astype(np.float64) for values in (reference, own))
    with np.errstate(all="ignore"):
        difference = np.where(a == b, 0.0, np.abs(a - b)).max(axis=1, initial=0.0)
    return np.where(np.isfinite(difference), difference, float(np.finfo(np.float32).max))
