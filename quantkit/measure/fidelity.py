"""How close outputs stay to FP32's: agreement and SQNR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Interval
from quantkit.measure.accuracy import wilson_interval
from quantkit.measure.noise import decibels, energy, noise_energy


class Fidelity:
    """Accumulates, over batches, the share of equal answers and the signal and noise energy of each output.

    The answer is the largest entry along axis 1 of the first output, for every sample and further position; of a single
    score per sample it is the sign.
    """

    def __init__(self) -> None:
        self._equal = 0
        self._answers = 0
        self._samples = 0
        self._signal: dict[str, float] = {}
        self._noise: dict[str, float] = {}

    def update(self, reference: Mapping[str, npt.NDArray[Any]], outputs: Mapping[str, npt.NDArray[Any]]) -> None:
        """One batch of outputs by name, the same names and shapes in both."""
        first = next(iter(reference))
        equal = _answers(reference[first]) == _answers(outputs[first])
        equal &= np.isfinite(outputs[first]).all() if outputs[first].dtype.kind == "f" else True
        self._equal += int(equal.sum())
        self._answers += equal.size
        self._samples += len(equal)
        for name, expected in reference.items():
            self._signal[name] = self._signal.get(name, 0.0) + energy(expected)
            self._noise[name] = self._noise.get(name, 0.0) + noise_energy(expected, outputs[name])

    @property
    def agreement(self) -> float:
        """Share of equal answers, 0..1."""
        return self._equal / self._answers

    @property
    def agreement_interval(self) -> Interval | None:
        """With its 95 % Wilson interval; None where a sample has many answers, which are no independent ones."""
        return wilson_interval(self._equal, self._answers) if self._answers == self._samples else None

    @property
    def sqnr_db(self) -> float | None:
        """10·log10(Σ ref² / Σ (ref - x)²) of the worst output; None when all are equal to the bit."""
        each = [decibels(self._signal[name], noise) for name, noise in self._noise.items()]
        return min((value for value in each if value is not None), default=None)


def _answers(output: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if output.ndim < 2 or output.shape[1] < 2:
        return np.asarray(output > 0)
    return np.asarray(output.argmax(axis=1))
