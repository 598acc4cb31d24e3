"""COCO's mean average precision over resampled images, for intervals and paired tests.

Average precision is that of pycocotools' ``accumulate``: precision made non-increasing from the right, its mean at 101
recalls. An image that is drawn w times counts w times, so that one pass gives all resamples: only where a right
detection stands does recall change, and of the others just the weighted number before it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantkit.tasks.detection.matching import IOU_THRESHOLDS, Matches

RECALLS = np.linspace(0.0, 1.0, 101)
_BOUNDS = np.append(RECALLS, np.inf)
NAMES = ("map", "ap50", "ap75", "ar")
AP50, AP75 = 0, 5  # places in IOU_THRESHOLDS
MOST_WEIGHTS = 1 << 22  # values of one block of resamples
MOST_GATHERED = 1 << 10  # detections whose weights are gathered at once, so that they stay in the cache
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MatchedImages:
    """The matches of N images, by class: for each its detections by falling score, and its objects.

    Attributes:
        count: The number of images.
        classes: The detections and objects of each class that has an object.
    """

    count: int
    classes: Mapping[int, MatchedClass]

    @classmethod
    def of(cls, images: Sequence[Matches]) -> MatchedImages:
        """Gather the matches of all images."""
        numbers = np.arange(len(images))
        image = np.repeat(numbers, [len(own.scores) for own in images])
        image_of_objects = np.repeat(numbers, [len(own.objects) for own in images])
        scores = np.concatenate([own.scores for own in images])
        classes = np.concatenate([own.classes for own in images])
        objects = np.concatenate([own.objects for own in images])
        right = np.concatenate([own.right for own in images])
        ignored = np.concatenate([own.ignored for own in images])
        found = {}
        for number in np.unique(objects).tolist():
            own = np.flatnonzero(classes == number)
            own = own[np.argsort(-scores[own], kind="stable")]
            found[number] = MatchedClass(
                image[own], right[own], ignored[own], image_of_objects[objects == number], len(images)
            )
        return cls(len(images), found)

    def figures(self, weights: npt.NDArray[np.float32]) -> dict[str, Floats]:
        """Return each metric of :data:`NAMES` for R resamples.

        Args:
            weights: How often each image is drawn, (R, N).

        Returns:
            The metrics by name, (R,) each, 0 to 1; NaN where no object is drawn.
        """
        largest = max((len(own.object_images) for own in self.classes.values()), default=1)
        block = max(1, MOST_WEIGHTS // max(self.count, largest))
        parts = [self._figures(weights[start : start + block]) for start in range(0, len(weights), block)]
        return {name: np.concatenate([part[name] for part in parts]) for name in NAMES}

    def _figures(self, weights: npt.NDArray[np.float32]) -> dict[str, Floats]:
        drawn = np.ascontiguousarray(weights.T)
        sums = {name: np.zeros(len(weights)) for name in NAMES}
        known = np.zeros(len(weights))
        for own in self.classes.values():
            precision, recall, has = own.precision_and_recall(drawn)
            values = (precision.mean(axis=0), precision[AP50], precision[AP75], recall.mean(axis=0))
            for name, value in zip(NAMES, values, strict=True):
                sums[name] += np.where(has, value, 0.0)
            known += has
        with np.errstate(invalid="ignore"):
            return {name: total / known for name, total in sums.items()}


@dataclass(frozen=True, eq=False)
class MatchedClass:
    """The detections of one class by falling score: their images (D,), ``right`` and ``ignored`` (D, T).

    ``object_images`` are the images of its objects, of ``count`` images.
    """

    images: npt.NDArray[np.int64]
    right: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    object_images: npt.NDArray[np.int64]
    count: int

    def precision_and_recall(self, drawn: npt.NDArray[np.float32]) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
        """Return average precision and the highest recall at each threshold, (T, R), and where there are objects, (R,).

        Args:
            drawn: How often each image is drawn, (N, R).
        """
        objects = np.bincount(self.object_images, minlength=self.count).astype(np.float32) @ drawn
        has = objects > 0
        objects = np.maximum(objects, 1)  # without objects, nothing is right
        precisions = np.zeros((len(IOU_THRESHOLDS), drawn.shape[1]))
        recalls = np.zeros_like(precisions)
        steps = np.flatnonzero(self.right.any(axis=1))
        before = self._before(steps, np.ones(len(self.images), np.bool_), drawn)
        for number in range(len(IOU_THRESHOLDS)):
            own = np.flatnonzero(self.right[:, number])
            if not len(own):
                continue
            counted = before[np.searchsorted(steps, own)]
            if self.ignored[:, number].any():  # few of all, so that they are subtracted
                counted -= self._before(own, self.ignored[:, number], drawn)
            right = np.cumsum(drawn[self.images[own]], axis=0, dtype=np.float64)
            precision = right / np.maximum(counted, 1, out=counted)  # whole numbers, and none is right before the first
            recall = right / objects
            highest = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
            reached = recalls_reached(recall)
            reached[recall == 0] = 0
            new = np.diff(reached, axis=0, prepend=0)
            precisions[number] = (highest * new).sum(axis=0) / len(RECALLS)
            recalls[number] = recall[-1]
        return precisions, recalls, has

    def _before(
        self, steps: npt.NDArray[np.int64], counted: npt.NDArray[np.bool_], drawn: npt.NDArray[np.float32]
    ) -> Floats:
        """Return the weighted number of counted detections up to each of ``steps``, (S, R)."""
        sums = np.zeros((len(steps), drawn.shape[1]), np.float32)  # whole numbers below 2^24: exact in any order
        upto = np.flatnonzero(counted[: steps[-1] + 1]) if len(steps) else steps
        segment = np.searchsorted(steps, upto)
        for start in range(0, len(upto), MOST_GATHERED):
            part = slice(start, start + MOST_GATHERED)
            first = np.flatnonzero(np.diff(segment[part], prepend=-1))
            sums[segment[part][first]] += np.add.reduceat(drawn[self.images[upto[part]]], first, axis=0)
        found: Floats = np.cumsum(sums, axis=0, dtype=np.float64)
        return found


def recalls_reached(recall: Floats) -> npt.NDArray[np.int64]:
    """Return how many of RECALLS are at most each value from 0 to 1, as ``np.searchsorted`` does, faster."""
    below = (recall * 100).astype(np.int64)  # or one too many, or one too few, by rounding
    reached: npt.NDArray[np.int64] = below + (_BOUNDS[below] <= recall) + (_BOUNDS[below + 1] <= recall)
    return reached
