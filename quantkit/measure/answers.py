"""Collects every model's answers while samples go by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.predictions import Predictions, best_of


class Answers:
    """Eight bytes a sample and model."""

    def __init__(self) -> None:
        self._indices: list[int] = []
        self._answers: dict[str, list[npt.NDArray[np.int32]]] = {}
        self._confidences: dict[str, list[npt.NDArray[np.float32]]] = {}

    def see(self, indices: Sequence[int]) -> None:
        """The dataset's positions of a batch, before its answers."""
        self._indices += indices

    def update(self, key: str, scores: npt.NDArray[Any]) -> None:
        """One model's (N, classes) scores of that batch."""
        best, confidence = best_of(scores)
        self._answers.setdefault(key, []).append(best)
        self._confidences.setdefault(key, []).append(confidence)

    def predictions(
        self, names: Sequence[str], classes: Sequence[str], labels: npt.NDArray[np.int64] | None
    ) -> Predictions | None:
        """All of it, with the dataset's names and labels; None where the model is no classification."""
        if not self._answers:
            return None
        known = np.full(len(self._indices), -1) if labels is None else labels[self._indices]
        return Predictions(
            tuple(names[index] for index in self._indices),
            tuple(classes),
            known.astype(np.int32),
            tuple(self._answers),
            np.stack([np.concatenate(parts) for parts in self._answers.values()]),
            np.stack([np.concatenate(parts) for parts in self._confidences.values()]),
        )
