"""Combines the scores of samples to figures with intervals and paired changes, for tasks that score each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Change, Interval
from quantkit.core.errors import BadConfig
from quantkit.core.figures import Metric
from quantkit.measure.intervals import clipped, mean_interval, wilson_interval
from quantkit.measure.paired import change, mean_change

Scores = Mapping[str, npt.NDArray[np.float64]]
"""One value per sample by metric, (N,) float64; NaN for a sample that cannot be scored."""


class SampleScores:
    """The values of all samples for every metric, and FP32's: sixteen bytes per sample and metric.

    A metric whose values are all 0 or 1 is a share of hits, with Wilson's interval and McNemar's exact test. Any other
    metric is a mean, with Student's interval and Student's paired test. A "max" metric has no interval. The values of
    an "rms" metric are squares; its figure is the root of their mean, and so are the ends of its interval.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = {metric.name: metric for metric in metrics}
        self._own: dict[str, list[npt.NDArray[np.float64]]] = {}
        self._reference: dict[str, list[npt.NDArray[np.float64]]] = {}

    @property
    def names(self) -> set[str]:
        """The metrics that values were added of."""
        return {*self._own}

    def update(self, own: Scores, reference: Scores) -> None:
        """Add one batch of this model's values and FP32's."""
        for name, values in own.items():
            self._own.setdefault(name, []).append(np.asarray(values, np.float64))
            self._reference.setdefault(name, []).append(np.asarray(reference.get(name, values), np.float64))

    def metrics(self) -> dict[str, Interval]:
        """Return the figures in the task's order, without metrics that no sample has.

        Raises BadInput for an infinite value.
        """
        found = {}
        for name in self._in_order():
            values = self._scored(name)
            if values.size:
                found[name] = _figure(self._metrics[name], values)
        return found

    def changes(self) -> dict[str, Change]:
        """Return the change of each metric from FP32 on the samples that both have a value for.

        Metrics that compare with FP32 themselves have none.
        """
        found = {}
        for name in self._compared():
            own, reference = self._paired(name)
            loss = self._loss(name)
            if not loss.size:
                continue
            if _binary(own) and _binary(reference):
                found[name] = change(int((loss > 0).sum()), int((loss < 0).sum()), own.size)
            else:
                found[name] = mean_change(loss)
        return found

    def drops(self) -> dict[str, float]:
        """Return how much worse metrics are than FP32's, for those that leave out samples of one model alone."""
        uneven = [n for n in self._compared() if (np.isnan(self._all(n)[0]) != np.isnan(self._all(n)[1])).any()]
        return {name: float(loss.mean()) for name in uneven if (loss := self._loss(name)).size}

    def _compared(self) -> list[str]:
        metrics = (self._metrics[name] for name in self._in_order())
        return [metric.name for metric in metrics if not metric.of_fp32 and metric.over_samples == "mean"]

    def _loss(self, name: str) -> npt.NDArray[np.float64]:
        own, reference = self._paired(name)
        return reference - own if self._metrics[name].better == "higher" else own - reference

    def _paired(self, name: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        own, reference = self._all(name)
        both = ~(np.isnan(own) | np.isnan(reference))
        return own[both], reference[both]

    def _all(self, name: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        return np.concatenate(self._own[name]), np.concatenate(self._reference[name])

    def _in_order(self) -> list[str]:
        return [name for name in self._metrics if name in self._own]

    def _scored(self, name: str) -> npt.NDArray[np.float64]:
        own = self._all(name)[0]
        scored = own[~np.isnan(own)]
        if np.isinf(scored).any():
            raise BadConfig(
                f"The metric {name!r} is infinite for a sample.", "Return a finite number, or NaN for none."
            )
        return scored


def _figure(metric: Metric, values: npt.NDArray[np.float64]) -> Interval:
    if metric.over_samples == "max":
        return Interval(value=float(values.max()))
    if metric.over_samples == "rms":
        squares = mean_interval(values)
        low, high = (None if end is None else max(end, 0.0) ** 0.5 for end in (squares.low, squares.high))
        return Interval(value=squares.value**0.5, low=low, high=high)
    if metric.is_share and _binary(values):
        return wilson_interval(int(values.sum()), values.size)
    return clipped(mean_interval(values)) if metric.is_share else mean_interval(values)


def _binary(values: npt.NDArray[np.float64]) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())
