"""Scores a detector's answers: mean average precision against annotations, F1 against FP32."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Change, Interval, Part
from quantkit.datasets.boxes import Boxes, size_name
from quantkit.measure.bootstrap import resampled_change, resampled_interval, resamples
from quantkit.measure.intervals import wilson_interval
from quantkit.tasks.base import Result
from quantkit.tasks.detection.answers import SURE, Answer, Answers, common
from quantkit.tasks.detection.average_precision import NAMES, MatchedImages
from quantkit.tasks.detection.coco import coco_figures
from quantkit.tasks.detection.matching import Matches

LEAST_MAP = 0.01  # FP32's; with less, something about the setup is probably wrong
Floats = npt.NDArray[np.float64]


class Resamples:
    """Computes figures of resamples; those of FP32, which every candidate is tested against, just once."""

    def __init__(self) -> None:
        self._matches: list[Matches] = []
        self._figures: dict[str, Floats] = {}

    def figures(self, matches: list[Matches], keep: bool = False) -> dict[str, Floats]:
        """Return each metric of the resamples, (RESAMPLES,).

        Args:
            matches: The matches of all images.
            keep: Keep the figures for the next call with the same matches.
        """
        if len(matches) == len(self._matches) and all(map(operator.is_, matches, self._matches)):
            return self._figures
        found = MatchedImages.of(matches).figures(resamples(len(matches)))
        if keep:
            self._matches, self._figures = matches, found
        return found


class DetectionScorer:
    """Keeps the detections of all images, and computes figures from them once: some kilobytes an image.

    Args:
        names: The names of the model's classes.
        of_annotations: Returns annotations with the model's classes.
        resampled: Computes and shares the figures of resamples.
    """

    def __init__(
        self, names: Sequence[str], of_annotations: Callable[[Sequence[Any]], list[Any]], resampled: Resamples
    ) -> None:
        self._names, self._of_annotations, self._resampled = names, of_annotations, resampled
        self._own: list[Answer] = []
        self._reference: list[Answer] = []
        self._boxes: list[Boxes | None] = []
        self._same: list[npt.NDArray[np.int64]] = []

    def update(self, answers: Answers, reference: Answers, annotations: Sequence[Any] | None) -> None:
        """Keep one batch of both models' detections."""
        self._own += answers
        self._reference += reference
        self._boxes += [None] * len(answers) if annotations is None else self._of_annotations(annotations)
        self._same += [common(own.sure, its.sure) for own, its in zip(answers, reference, strict=True)]

    def result(self) -> Result:
        """Return mean average precision of annotated images, F1 and agreement with FP32, with bootstrap intervals."""
        if not self._own:
            return Result()
        counts = np.array([[len(own.sure.scores), len(its.sure.scores)] for own, its in self._pairs()], np.float64)
        metrics: dict[str, Interval] = {}
        changes: dict[str, Change] = {}
        warnings = []
        parts: tuple[Part, ...] = ()
        if any(boxes is not None and (~boxes.crowd).any() for boxes in self._boxes):
            metrics, changes, parts = self._against_annotations()
            if metrics["map"].value < LEAST_MAP:
                warnings.append(
                    f"The mAP of FP32 is {100 * metrics['map'].value:.1f} %: the preprocessing, the head or the "
                    "order of classes is probably wrong."
                )
        if not counts.any():
            warnings.append(f"Nothing is detected in any image with a score of {SURE:g}, so there is no agreement.")
            return Result(metrics, changes, None, tuple(warnings), parts=parts)
        same = np.array(self._same, np.float64)
        for place, name in enumerate(("f1_50", "f1_75")):
            metrics[name] = _f1(same[:, place], counts.sum(axis=1))
        equal = (same[:, 0] == counts[:, 0]) & (same[:, 0] == counts[:, 1])
        return Result(metrics, changes, wilson_interval(int(equal.sum()), len(equal)), tuple(warnings), parts=parts)

    def _pairs(self) -> list[tuple[Answer, Answer]]:
        return list(zip(self._own, self._reference, strict=True))

    def _against_annotations(self) -> tuple[dict[str, Interval], dict[str, Change], tuple[Part, ...]]:
        known = [place for place, boxes in enumerate(self._boxes) if boxes is not None]
        boxes = [own for own in self._boxes if own is not None]
        own, reference = (
            [matches for place in known if (matches := answers[place].matches) is not None]
            for answers in (self._own, self._reference)
        )
        figures = coco_figures([self._own[place].found for place in known], boxes)
        its = self._resampled.figures(reference, keep=True)
        drawn = self._resampled.figures(own)
        metrics = {name: resampled_interval(figures.metrics[name], drawn[name]) for name in NAMES}
        lost, won = _lost_and_won(own, reference)
        changes = {name: resampled_change(its[name] - drawn[name], lost, won) for name in NAMES}
        numbers = np.concatenate([one.classes[~one.crowd] for one in boxes])
        parts = [
            Part(kind="class", name=self._name(number), value=value, objects=int((numbers == number).sum()))
            for number, value in figures.by_class.items()
        ]
        return metrics, changes, (*parts, *_sizes(figures.by_size, boxes))

    def _name(self, number: int) -> str:
        return self._names[number] if number < len(self._names) else f"class {number}"


def _lost_and_won(own: Sequence[Matches], reference: Sequence[Matches]) -> tuple[int, int]:
    """Return in how many images fewer, and in how many more, objects are found than by FP32, at an IoU of 0.5."""
    difference = np.array([_hits(its) - _hits(mine) for mine, its in zip(own, reference, strict=True)])
    return int((difference > 0).sum()), int((difference < 0).sum())


def _hits(matches: Matches) -> int:
    return int((matches.right[:, 0] & (matches.scores >= SURE)).sum())


def _f1(same: Floats, counts: Floats) -> Interval:
    """Return 2 · common detections / all detections of both models, with its bootstrap interval.

    Args:
        same: The common detections of each image, (N,).
        counts: The detections of both models in each image, (N,).
    """
    weights = resamples(len(same)).astype(np.float64)
    with np.errstate(invalid="ignore"):
        drawn = 2 * (weights @ same) / (weights @ counts)
    return resampled_interval(float(2 * same.sum() / counts.sum()), drawn)


def _sizes(figures: dict[str, float], boxes: Sequence[Boxes]) -> list[Part]:
    counts = Counter(size_name(area) for one in boxes for area in one.area[~one.crowd].tolist())
    return [Part(kind="size", name=name, value=value, objects=counts[name]) for name, value in figures.items()]
