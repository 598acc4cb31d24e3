"""The answers of a detector for one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantkit.tasks.detection.decode import Found
from quantkit.tasks.detection.matching import Matches, Objects, match

SURE = 0.25  # the least score of detections that people are shown, and that are compared with FP32's
AGREEMENT_IOUS = np.array([0.5, 0.75])


@dataclass(frozen=True, eq=False)
class Answer:
    """The detections in one image.

    Attributes:
        found: The detections, in the pixels of the image, or of the model's input if the image is not known.
        size: (height, width) of the image; (0, 0) if it is not known.
        matches: What became of them against the annotation; None without one.
    """

    found: Found
    size: tuple[int, int] = (0, 0)
    matches: Matches | None = None

    @property
    def sure(self) -> Found:
        """The detections with a score of at least SURE."""
        kept = int(np.searchsorted(-self.found.scores, -SURE, side="right"))
        return Found(self.found.xyxy[:kept], self.found.scores[:kept], self.found.classes[:kept])


Answers = Sequence[Answer]
"""One for each sample of a batch."""


def common(own: Found, reference: Found) -> npt.NDArray[np.int64]:
    """Return how many detections of two models are the same object, one to one, at each of AGREEMENT_IOUS."""
    if not len(own.scores) or not len(reference.scores):
        return np.zeros(len(AGREEMENT_IOUS), np.int64)
    objects = Objects(reference.xyxy, reference.classes, np.zeros(len(reference.classes), np.bool_))
    found: npt.NDArray[np.int64] = match(own, objects, AGREEMENT_IOUS).right.sum(axis=0)
    return found
