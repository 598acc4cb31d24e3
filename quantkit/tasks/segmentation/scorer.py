"""Scores maps: intersection over union by class, right pixels, and how close they are to FP32's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Change, Interval, Part
from quantkit.core.figures import Metric
from quantkit.datasets.masks import IGNORED, Mask
from quantkit.measure.bootstrap import resampled_change, resampled_interval, resamples
from quantkit.measure.intervals import clipped, mean_interval
from quantkit.tasks.base import Result
from quantkit.tasks.sample_scores import SampleScores
from quantkit.tasks.segmentation.answers import Maps

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass
class Overlaps:
    """For each image and class, the pixels that are right, that the model gives, and that the mask has: (C,) each."""

    right: list[Counts] = field(default_factory=list)
    given: list[Counts] = field(default_factory=list)
    true: list[Counts] = field(default_factory=list)

    def add(self, own: npt.NDArray[np.integer], true: npt.NDArray[np.integer], count: int) -> None:
        """Count one image; pixels of no class are left out."""
        judged = (true >= 0) & (true < count) if count <= IGNORED else (true >= 0) & (true != IGNORED) & (true < count)
        flat, other = own[judged].astype(np.int64), true[judged].astype(np.int64)
        self.right.append(np.bincount(other[flat == other], minlength=count)[:count])
        self.given.append(np.bincount(np.minimum(flat, count), minlength=count + 1)[:count])
        self.true.append(np.bincount(other, minlength=count)[:count])

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
        right, given, true = (weights.astype(np.float64) @ np.array(own) for own in (self.right, self.given, self.true))
        with np.errstate(invalid="ignore", divide="ignore"):
            each = np.where(true > 0, right / (given + true - right), np.nan)
            known = np.isfinite(each)
            mean = np.where(known, each, 0.0).sum(axis=1) / known.sum(axis=1)
            return mean, right.sum(axis=1) / true.sum(axis=1), each

    @property
    def shares(self) -> Floats:
        """The share of right pixels of each image, (N,); NaN where none is judged."""
        right, true = np.array(self.right).sum(axis=1), np.array(self.true).sum(axis=1)
        with np.errstate(invalid="ignore"):
            found: Floats = right / np.where(true > 0, true, np.nan)
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

    def update(self, answers: Maps, reference: Maps, annotations: Sequence[Any] | None) -> None:
        """Count one batch."""
        if answers.classes.shape != reference.classes.shape:
            return
        count = max(answers.count, reference.count)
        for sample, (own, its) in enumerate(zip(answers.classes, reference.classes, strict=True)):
            self._same.add(own, its.astype(np.int64), count)
            mask = None if annotations is None else annotations[sample]
            if not isinstance(mask, Mask):
                continue
            true = mask.as_output(answers.preprocess, (own.shape[0], own.shape[1]))
            if answers.soft is None or reference.soft is None:
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
        if self._own.filled and np.array(self._own.true).any():
            own, its = _drawn(self._own), _drawn(self._its)
            lost_and_won = _moved(self._own.shares, self._its.shares)
            for name, place in (("miou", 0), ("pixels", 1)):
                metrics[name] = resampled_interval(own[0][place], own[1][place])
                changes[name] = resampled_change(its[1][place] - own[1][place], *lost_and_won)
            each, objects = own[2], np.array(self._own.true).sum(axis=0)
            parts = [
                Part(kind="class", name=self._name(number), value=float(each[number]), objects=int(objects[number]))
                for number in np.flatnonzero(np.isfinite(each)).tolist()
            ]
        same = _drawn(self._same)
        metrics["miou_fp32"] = resampled_interval(same[0][0], same[1][0])
        return Result(metrics, changes, clipped(mean_interval(self._same.shares)), (), parts=tuple(parts))

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
