"""Regression: how far numbers are from their targets, and from FP32's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadConfig, BadData
from quantkit.core.figures import Metric
from quantkit.datasets.base import Dataset
from quantkit.graph.model_file import ModelFile
from quantkit.graph.model_io import ModelInput
from quantkit.tasks.base import Outputs, Result, Task, TaskSettings
from quantkit.tasks.class_outputs import said_decision
from quantkit.tasks.fidelity import Fidelity, fidelity
from quantkit.tasks.sample_scores import SampleScores, Scores


class Regression(Task):
    """The task "regression". An annotation is a number, an array like a sample's output, or a dict of these by output.

    Args:
        output: The output that annotations without a name belong to; None means the only floating-point one.
    """

    name = "regression"
    has_answers = False
    metrics = (
        Metric(
            name="mae",
            title="mean absolute error",
            better="lower",
            interval=True,
            hint="Mean of |output - target| over values and samples",
        ),
        Metric(
            name="rmse",
            title="RMSE",
            better="lower",
            interval=True,
            over_samples="rms",
            hint="Root of the mean squared error over values and samples",
        ),
        *Fidelity.metrics,
    )

    def __init__(self, output: str | None = None) -> None:
        self.output = output

    def fitted(self, model: ModelFile, settings: TaskSettings) -> Regression:
        """Take the output that the user names. Raises BadConfig if there is none of that name."""
        if settings.only("output"):
            said_decision(model.outputs, settings.output, None, None)
        return Regression(settings.output)

    def decode(self, outputs: Outputs) -> Outputs | None:
        """Return the floating-point outputs; None if there are none."""
        return {name: values for name, values in outputs.items() if values.dtype.kind == "f"} or None

    def check(self, outputs: Sequence[ModelInput], dataset: Dataset) -> None:
        """Raise BadInput if it is not clear which output the annotations belong to."""
        floats = [own.name for own in outputs if own.dtype.startswith("float")]
        plain = any(own is not None and not isinstance(own, Mapping) for own in dataset.annotations or ())
        if plain and self.output is None and len(floats) > 1:
            raise BadConfig(
                f"{dataset.source} has one target a sample, but the model has the outputs {', '.join(floats)}.",
                "Name the output (--task-output, task_output=), or save targets as arrays with the outputs' names.",
            )

    def scorer(self) -> RegressionScorer:
        """Make a scorer."""
        return RegressionScorer(self.metrics, self.output)


class RegressionScorer:
    """Scores errors against targets, and against FP32, of every sample."""

    def __init__(self, metrics: Sequence[Metric], output: str | None) -> None:
        self._scores = SampleScores(metrics)
        self._output = output

    def update(self, answers: Outputs, reference: Outputs, annotations: Sequence[Any] | None) -> None:
        """Count one batch of both models' outputs. Raises BadData for a target of another size than its output."""
        if annotations is not None and any(own is not None for own in annotations):
            self._scores.update(self._errors(answers, annotations), self._errors(reference, annotations))
        found = fidelity(answers, reference)
        self._scores.update(found, found)

    def result(self) -> Result:
        """Return errors with Student's intervals, and the change of the mean absolute error."""
        return Result(self._scores.metrics(), self._scores.changes(), drops=self._scores.drops())

    def _errors(self, outputs: Outputs, annotations: Sequence[Any]) -> Scores:
        """Return the mean absolute and the mean squared error of each sample, NaN without a target."""
        found = np.full((2, len(annotations)), np.nan)
        for row, annotation in enumerate(annotations):
            if annotation is not None:
                errors = np.concatenate(
                    [_differences(outputs, row, *own) for own in self._targets(outputs, annotation)]
                )
                found[:, row] = np.abs(errors).mean(), (errors**2).mean()
        largest = float(np.finfo(np.float32).max)
        found = np.where(np.isnan(found), np.nan, np.minimum(found, largest))  # an output that is not finite
        return {"mae": found[0], "rmse": found[1]}

    def _targets(self, outputs: Outputs, annotation: Any) -> list[tuple[str, Any]]:
        if isinstance(annotation, Mapping):
            return [(name, target) for name, target in annotation.items() if name in outputs]
        return [(self._output or next(iter(outputs)), annotation)]


def _differences(outputs: Outputs, row: int, name: str, target: Any) -> npt.NDArray[np.float64]:
    """Return output - target of one sample, flat float64; the largest float32 where it is not finite."""
    own = outputs[name][row]
    try:
        wanted = np.asarray(target, np.float64)
    except (TypeError, ValueError) as error:
        raise BadData(f"The target {target!r:.40} is no number.", "Give numbers.") from error
    if wanted.size != own.size or not np.isfinite(wanted).all():
        what = f"has the shape {wanted.shape}" if wanted.size != own.size else "is not finite"
        raise BadData(
            f"A target of the output {name!r} {what}, where the output has the shape {own.shape}.",
            "Give a finite value for each of the output's.",
        )
    with np.errstate(all="ignore"):
        difference = own.reshape(-1).astype(np.float64) - wanted.reshape(-1)
    return np.where(np.isfinite(difference), difference, float(np.finfo(np.float32).max))
