"""What each compared model answered on each sample: ``predictions.npz`` beside ``comparison.json``."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadInput

PREDICTIONS_FILE = "predictions.npz"


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers of N samples by K models of a classification.

    ``names`` are the samples', relative to the data; ``classes`` the outputs', empty where they have none; ``labels``
    (N,) int32, -1 where there is none. ``keys`` tell the models apart as :attr:`Row.key` does; ``answers`` (K, N)
    int32 is each one's best class, ``confidences`` (K, N) float32 what Softmax gives it, 0..1.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    labels: npt.NDArray[np.int32]
    keys: tuple[str, ...]
    answers: npt.NDArray[np.int32]
    confidences: npt.NDArray[np.float32]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """As they are stored."""
        return {
            "names": np.array(self.names, dtype=np.str_),
            "classes": np.array(self.classes, dtype=np.str_),
            "labels": self.labels,
            "keys": np.array(self.keys, dtype=np.str_),
            "answers": self.answers,
            "confidences": self.confidences,
        }

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read them. Raises BadInput for a file that is missing, damaged, or does not agree with itself."""
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                names, classes, keys = (tuple(map(str, file[name].tolist())) for name in ("names", "classes", "keys"))
                labels = file["labels"].astype(np.int32)
                answers, confidences = file["answers"].astype(np.int32), file["confidences"].astype(np.float32)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
            raise BadInput(f"{path} cannot be read ({error}).", "Make it again with quantkit compare.") from error
        shape = (len(keys), len(names))
        classes_known = max(int(answers.max(initial=-1)), int(labels.max(initial=-1))) < len(classes) or not classes
        if labels.shape != shape[1:] or answers.shape != shape or confidences.shape != shape or not classes_known:
            raise BadInput(f"{path} is damaged (its arrays do not agree).", "Make it again with quantkit compare.")
        return cls(names, classes, labels, keys, answers, confidences)

    def class_name(self, number: int) -> str:
        """What people call a class."""
        return self.classes[number] if self.classes else f"class {number}"


def best_of(scores: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The best class of each row of (N, classes) and its share after Softmax; scores that are shares stay as they are.

    A row that is not finite has confidence 0.
    """
    values = scores.astype(np.float64)
    best = values.argmax(axis=1)
    top = values[np.arange(len(values)), best]
    with np.errstate(all="ignore"):
        shares = bool((values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=1e-3))
        confidence = top if shares else 1 / np.exp(values - top[:, None]).sum(axis=1)
    return best.astype(np.int32), np.nan_to_num(confidence).astype(np.float32)
