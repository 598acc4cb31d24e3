"""The answers of each compared model for each sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from quantkit.core.by_value import ByValue


@dataclass(frozen=True, eq=False)
class Predictions(ByValue):
    """The answers of K models for N samples. The task defines what an answer is.

    Attributes:
        names: The names of the samples, relative to the data.
        classes: The names of the outputs' classes; empty if they have none.
        labels: The annotations as the task stores them, (N, ...).
        keys: The keys of the models, as in :attr:`Row.key`.
        kept: The answers as the task stores them: arrays of shape (K, N, ...) by name.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    labels: npt.NDArray[Any]
    keys: tuple[str, ...]
    kept: Mapping[str, npt.NDArray[Any]]

    def of(self, model: int) -> dict[str, npt.NDArray[Any]]:
        """Return the stored answers of one model: arrays of shape (N, ...) by name."""
        return {name: values[model] for name, values in self.kept.items()}

    def fault(self) -> str:
        """Return what is wrong with the arrays, in words; empty if they are consistent."""
        shape = (len(self.keys), len(self.names))
        if self.labels.shape[:1] != shape[1:] or any(values.shape[:2] != shape for values in self.kept.values()):
            return "its arrays do not agree"
        return ""
