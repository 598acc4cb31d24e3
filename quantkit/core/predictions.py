"""What each compared model answered on each sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from quantkit.core.by_value import ByValue


@dataclass(frozen=True, eq=False)
class Predictions(ByValue):
    """Answers of N samples by K models; what an answer is, the task says.

    ``names`` are the samples', relative to the data; ``classes`` the outputs', empty where they have none; ``labels``
    are annotations as the task keeps them, (N, ...). ``keys`` tell the models apart as :attr:`Row.key` does. ``kept``
    is what the task keeps of answers: arrays of shape (K, N, ...) by name, for a classification ``answers``, int32, and
    ``confidences``, float32.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    labels: npt.NDArray[Any]
    keys: tuple[str, ...]
    kept: Mapping[str, npt.NDArray[Any]]

    def of(self, model: int) -> dict[str, npt.NDArray[Any]]:
        """What is kept of one model's answers: arrays of shape (N, ...) by name."""
        return {name: values[model] for name, values in self.kept.items()}

    def fault(self) -> str:
        """What is wrong with the arrays, in words; empty where they agree with each other."""
        shape = (len(self.keys), len(self.names))
        if self.labels.shape[:1] != shape[1:] or any(values.shape[:2] != shape for values in self.kept.values()):
            return "its arrays do not agree"
        # Of named classes, one whole number a sample is a class.
        chosen = [self.labels, *self.kept.values()] if self.classes else []
        whole = (values for values in chosen if values.dtype.kind in "iu" and values.ndim <= 2)
        return "it has answers beyond its classes" if any(v.max(initial=-1) >= len(self.classes) for v in whole) else ""
