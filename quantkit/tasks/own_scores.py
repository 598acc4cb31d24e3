"""What the user's own metrics make of one model's outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from quantkit.core.comparison import Change, Interval
from quantkit.core.errors import BadConfig
from quantkit.tasks.base import Outputs
from quantkit.tasks.own_metric import OwnMetric, samples_of
from quantkit.tasks.sample_scores import SampleScores, Scores

MOST_KEPT = 256 << 20  # bytes of one model's outputs, for metrics of all samples together


class OwnScores:
    """The values of the user's metrics, for one model.

    Metrics of single samples are kept as their values. If a metric is one number for all samples, all outputs are kept,
    at most MOST_KEPT bytes.
    """

    def __init__(self, metrics: Sequence[OwnMetric]) -> None:
        self._metrics = metrics
        self._scores = SampleScores([own.metric for own in metrics])
        self._outputs: list[Any] = []
        self._annotations: list[Any] = []
        self._size = 0

    def update(self, own: Scores, reference: Scores, outputs: Outputs, annotations: Sequence[Any]) -> None:
        """Add one batch: the values of both models for metrics of samples, this model's outputs, and annotations.

        Raises BadConfig if more would have to be kept than fits.
        """
        self._scores.update(own, reference)
        whole = [one.metric.name for one in self._metrics if one.metric.name not in own]
        if not whole:
            return
        self._size += sum(values.nbytes for values in outputs.values())
        if self._size > MOST_KEPT:
            raise BadConfig(
                f"The metric {whole[0]!r} needs the outputs of all samples at once, more than {MOST_KEPT >> 20} MiB.",
                "Return one number for each sample, or give fewer samples.",
            )
        self._outputs += samples_of({name: values.copy() for name, values in outputs.items()}, len(annotations))
        self._annotations += annotations

    def metrics(self) -> dict[str, Interval]:
        """Return the figures; those of all samples together have no interval. Raises BadConfig if a metric fails."""
        found = self._scores.metrics()
        for one in self._metrics if self._outputs else ():
            if one.metric.name not in self._scores.names:
                value = one.of_all(self._outputs, self._annotations)
                if not np.isnan(value):
                    found[one.metric.name] = Interval(value=value)
        return {one.metric.name: found[one.metric.name] for one in self._metrics if one.metric.name in found}

    def changes(self) -> dict[str, Change]:
        """Return the changes from FP32 of metrics of samples."""
        return self._scores.changes()

    def drops(self) -> dict[str, float]:
        """Return the drops of metrics that leave out samples of one model alone."""
        return self._scores.drops()


def check_defined(metrics: Sequence[OwnMetric], found: Mapping[str, Interval]) -> None:
    """Raise BadConfig for a metric that FP32 has no value of: it is NaN for every sample."""
    for one in metrics:
        if one.metric.name not in found:
            raise BadConfig(
                f"The metric {one.metric.name!r} is NaN for every sample.",
                "Check its function, and that the samples have the annotations that it needs.",
            )
