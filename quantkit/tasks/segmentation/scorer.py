"""Scores maps: intersection over union by class, right pixels, and how close they are to FP32's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Change, Interval, Part
from quantkit.core.figures import Metric
from quantkit.datasets.mask import IGNORED, Mask
from quantkit.measure.bootstrap import resampled_change, resampled_interval, resamples
from quantkit.measure.intervals import clipped, mean_interval
from quantkit.tasks.base import Result
from quantkit.tasks.sample_scores import SampleScores
from quantkit.tasks.segmentation.answers import Maps

MOST_CLASSES = 1 << 12  # of a map of indices, which does not tell their number
ONE_CLASS = "Every pixel of every image is of one class, so there is no agreement."
Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass
class Overlaps:
    """For each image and class, the pixels that are right, that the model gives, and that the mask has.

    An image has as many counts as its largest class needs.
    """

    right: list[Counts] = field(default_factory=list)
    given: list[Counts] = field(default_factory=list)
    true: list[Counts] = field(default_factory=list)

    def add(self, own: npt.NDArray[np.integer], true: npt.NDArray[np.integer], count: int) -> None:
        """Count one image; pixels of no class, or of one from ``count`` on, are left out."""
        judged = (true >= 0) & (true != IGNORED) & (true < count)
        flat, other = own[judged].astype(np.int64), true[judged].astype(np.int64)
        self.right.append(np.bincount(other[flat == other]))
        self.given.append(np.bincount(flat[(flat >= 0) & (flat < count)]))
        self.true.append(np.bincount(other))

    @property
    def objects(self) -> Counts:
        """The pixels of each class in all masks, (C,)."""
        found: Counts = _table(self.true, self._width).sum(axis=0)
        return found

    @property
    def one_class(self) -> bool:
        """True if there is but one class, the same one, in all images and masks."""
        right, given, true = (_table(own, self._width).sum(axis=0) for own in (self.right, self.given, self.true))
        return np.count_nonzero(right) == 1 and bool(right.sum() == given.sum() == true.sum())

    @property
    def _width(self) -> int:
        return max(map(len, (*self.right, *self.given, *self.true)), default=0)

    @property
    def filled(self) -> bool:
        """True if any image has been counted."""
        return bool(self.right)

    def figures(self, weights: npt.NDArray[np.floating]) -> tuple[Floats, Floats, Floats]:
        """Return the mean IoU, the share of right pixels, and the IoU of each class, for R draws of images.

        Args:
            weights: How often each image is drawn, (R, N).

        Returns:
            (R,), (R,) and (R, C); NaN for classes that no mask has.
        """
        parts = (_table(own, self._width) for own in (self.right, self.given, self.true))
        right, given, true = (weights.astype(np.float64) @ table for table in parts)
        with np.errstate(invalid="ignore", divide="ignore"):
            each = np.where(true > 0, right / (given + true - right), np.nan)
            known = np.isfinite(each)
            mean = np.where(known, each, 0.0).sum(axis=1) / known.sum(axis=1)
            return mean, right.sum(axis=1) / true.sum(axis=1), each

    @property
    def shares(self) -> Floats:
        """The share of right pixels of each image, (N,); NaN where none is judged."""
        right, true = (np.array([counts.sum() for counts in own]) for own in (self.right, self.true))
        with np.errstate(invalid="ignore"):
            found: Floats = right / np.where(true > 0, true, np.nan)
        return found


def _table(rows: Sequence[Counts], width: int) -> Counts:
    """Return counts as (N, width), filled up with 0."""
    found = np.zeros((len(rows), width), np.int64)
    for row, counts in zip(found, rows, strict=True):
        row[: len(counts)] = counts
    return found


class SegmentationScorer:
    """Counts the overlaps of each image: some bytes for each class.

    Args:
        metrics: The task's metrics.
        names: The names of the classes.
    """

    def __init__(self, metrics: Sequence[Metric], names: Sequence[str]) -> None:
        self._names = names
        self._own, self._its, self._same = Overlaps(), Overlaps(), Overlaps()
        self._soft = SampleScores([metric for metric in metrics if metric.name in ("mae", "iou")])
        self._beyond: dict[int, int] = {}  # by class that the model does not have: how many masks have it
        self._ignored, self._bounded = False, True

    def update(self, answers: Maps, reference: Maps, annotations: Sequence[Any] | None) -> None:
        """Count one batch."""
        if answers.classes.shape != reference.classes.shape:
            return
        count = MOST_CLASSES if answers.count is None else answers.count
        self._bounded &= answers.bounded
        for sample, (own, its) in enumerate(zip(answers.classes, reference.classes, strict=True)):
            self._same.add(own, its.astype(np.int64), count)
            mask = None if annotations is None else annotations[sample]
            if not isinstance(mask, Mask):
                continue
            true = mask.as_output(answers.preprocess, (own.shape[0], own.shape[1]))
            if answers.soft is None or reference.soft is None:
                self._note(true, count)
                self._own.add(own, true, count)
                self._its.add(its, true, count)
            else:
                self._soft.update(
                    _soft_scores(own, answers.soft[sample], true), _soft_scores(its, reference.soft[sample], true)
                )

    def result(self) -> Result:
        """Return mean IoU and right pixels, or MAE and IoU of a foreground, and both against FP32."""
        if not self._same.filled:
            return Result()
        metrics: dict[str, Interval] = dict(self._soft.metrics())
        changes: dict[str, Change] = dict(self._soft.changes())
        parts: list[Part] = []
        if self._own.objects.any():
            own, its = _drawn(self._own), _drawn(self._its)
            lost_and_won = _moved(self._own.shares, self._its.shares)
            for name, place in (("miou", 0), ("pixels", 1)):
                metrics[name] = resampled_interval(own[0][place], own[1][place])
                changes[name] = resampled_change(its[1][place] - own[1][place], *lost_and_won)
            each, objects = own[2], self._own.objects
            parts = [
                Part(kind="class", name=self._name(number), value=float(each[number]), objects=int(objects[number]))
                for number in np.flatnonzero(np.isfinite(each)).tolist()
            ]
        if self._same.one_class:
            return Result(metrics, changes, None, (*self._warnings(), ONE_CLASS), parts=tuple(parts))
        same = _drawn(self._same)
        metrics["miou_fp32"] = resampled_interval(same[0][0], same[1][0])
        return Result(metrics, changes, clipped(mean_interval(self._same.shares)), self._warnings(), parts=tuple(parts))

    def _note(self, true: npt.NDArray[np.integer], count: int) -> None:
        """Remember what is not judged in a mask."""
        self._ignored |= bool((true == IGNORED).any())
        for number in np.unique(true[(true >= count) & (true != IGNORED)]).tolist():
            self._beyond[number] = self._beyond.get(number, 0) + 1

    def _warnings(self) -> tuple[str, ...]:
        found = []
        if self._beyond:
            number, masks = next(iter(sorted(self._beyond.items())))
            found.append(
                f"Masks have classes that the model does not have, such as {number} in {masks}: these pixels are not "
                f"judged. Number classes as the model does; {IGNORED} is for pixels that are not judged."
            )
        classes = np.flatnonzero(self._own.objects).tolist()
        if self._own.filled and self._ignored and len(classes) < 2:
            only = f"only class {classes[0]}" if classes else "no class"
            found.append(
                f"Besides {IGNORED}, which is not judged, the masks have {only}. If {IGNORED} stands for a foreground, "
                "write its class there."
            )
        if not self._bounded:
            found.append(
                "Values of the foreground lie beyond 0 to 1, as those before a sigmoid do, and mae is of values cut to "
                "these bounds. Add a sigmoid to the model, or give the threshold 0, which is a sigmoid's 0.5."
            )
        return tuple(found)

    def _name(self, number: int) -> str:
        return self._names[number] if number < len(self._names) else f"class {number}"


def _drawn(overlaps: Overlaps) -> tuple[tuple[float, float], tuple[Floats, Floats], Floats]:
    """Return mean IoU and right pixels of all images, both of resamples, and the IoU of each class."""
    count = len(overlaps.right)
    mean, pixels, each = overlaps.figures(np.ones((1, count)))
    drawn_mean, drawn_pixels, _ = overlaps.figures(resamples(count))
    return (float(mean[0]), float(pixels[0])), (drawn_mean, drawn_pixels), each[0]


def _moved(own: Floats, its: Floats) -> tuple[int, int]:
    """Return in how many images fewer, and in how many more, pixels are right than with FP32."""
    return int((own < its).sum()), int((own > its).sum())


def _soft_scores(
    own: npt.NDArray[np.integer], soft: npt.NDArray[np.float32], true: npt.NDArray[np.integer]
) -> dict[str, Floats]:
    """Return the mean absolute error of a foreground and its IoU, (1,) each: masks are of 0 and 1, or of 0 to 255."""
    gray = not np.isin(true, (-1, 0, 1, IGNORED)).all() or not (true == 1).any()
    judged = true >= 0 if gray else (true >= 0) & (true != IGNORED)
    wanted = true / 255 if gray else true.astype(np.float64)
    if not judged.any():
        return {"mae": np.array([np.nan]), "iou": np.array([np.nan])}
    front, given = wanted[judged] > 0.5, own[judged] > 0
    union = (front | given).sum()
    iou = (front & given).sum() / union if union else np.nan
    return {"mae": np.array([np.abs(soft[judged] - wanted[judged]).mean()]), "iou": np.array([iou])}
