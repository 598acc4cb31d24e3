"""Matches detections with objects, by COCO's rules.

The rules are those of pycocotools' ``evaluateImg`` (https://github.com/cocodataset/cocoapi): detections take turns,
best score first, and each takes the free object of its class that it overlaps with most, if the IoU reaches the
threshold. One that finds none but lies in a crowd counts neither as right nor as wrong; with a crowd, the overlap is
the share of the detection that lies in it. Of a class, the 100 best detections of an image count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantkit.tasks.detection.decode import Found
from quantkit.tasks.detection.nms import areas, intersections

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
MOST_OF_A_CLASS = 100
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Objects:
    """What is to be found in one image: ``xyxy`` float64 (G, 4), ``classes`` int64 (G,), ``crowd`` bool (G,)."""

    xyxy: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]
    crowd: Booleans


@dataclass(frozen=True, eq=False)
class Matches:
    """Detections of one image that count, and what became of them at T thresholds.

    Attributes:
        scores: Best first, float32 (M,).
        classes: int64 (M,).
        right: True if the detection has an object, bool (M, T).
        ignored: True if it counts neither as right nor as wrong, bool (M, T).
        objects: The class of each object that is no crowd, int64 (G,).
        taken: True if a detection has the object, bool (T, G).
    """

    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    right: Booleans
    ignored: Booleans
    objects: npt.NDArray[np.int64]
    taken: Booleans


def match(found: Found, objects: Objects, thresholds: npt.NDArray[np.float64] = IOU_THRESHOLDS) -> Matches:
    """Match the detections of one image, best score first, with its objects."""
    counted = _first_of_each_class(found.classes, MOST_OF_A_CLASS)
    xyxy, classes = found.xyxy[counted], found.classes[counted]
    right = np.zeros((len(xyxy), len(thresholds)), np.bool_)
    ignored = np.zeros_like(right)
    overlaps = _overlaps(xyxy, classes, objects)
    free = np.repeat(~objects.crowd[None], len(thresholds), axis=0)
    for detection in np.flatnonzero((overlaps >= thresholds.min()).any(axis=1)).tolist():
        own = overlaps[detection]
        reached = own >= thresholds[:, None]
        open_ = np.where(reached & free, own, -1.0)
        # Of equal overlaps the last object counts, as in pycocotools.
        best = len(own) - 1 - open_[:, ::-1].argmax(axis=1)
        has = open_[np.arange(len(thresholds)), best] > 0
        free[has, best[has]] = False
        right[detection] = has
        ignored[detection] = ~has & (reached & objects.crowd).any(axis=1)
    return Matches(
        found.scores[counted], classes, right, ignored, objects.classes[~objects.crowd], ~free[:, ~objects.crowd]
    )


def _overlaps(
    xyxy: npt.NDArray[np.float64], classes: npt.NDArray[np.int64], objects: Objects
) -> npt.NDArray[np.float64]:
    """Return the IoU of each detection with each object (M, G), -1 for another class."""
    common = intersections(xyxy, objects.xyxy)
    own = areas(xyxy)[:, None]
    whole = np.where(objects.crowd, own, own + areas(objects.xyxy) - common)
    shares: npt.NDArray[np.float64] = np.divide(common, whole, out=np.zeros_like(common), where=whole > 0)
    shares[classes[:, None] != objects.classes] = -1.0
    return shares


def _first_of_each_class(classes: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """Return the indices of the first ``most`` of each class, in order."""
    if len(classes) <= most:
        return np.arange(len(classes))
    order = np.argsort(classes, kind="stable")
    starts = np.flatnonzero(np.diff(classes[order], prepend=-1))
    turn = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    return np.sort(order[turn < most])
