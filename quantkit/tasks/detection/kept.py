"""Detections and annotations as arrays of one shape for every sample, for ``predictions.npz``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.datasets.boxes import Boxes
from quantkit.tasks.base import Kept
from quantkit.tasks.detection.answers import Answers
from quantkit.tasks.detection.decode import Found
from quantkit.tasks.detection.matching import Objects

MOST_KEPT = 100  # detections of one sample, best scores first
NOTHING = -1  # the class of a row that is not filled
NOT_ANNOTATED = -2  # the class in all rows of a sample without annotation
COLUMNS = 7  # of an object: x0, y0, x1, y1, class, crowd, area


def keep(answers: Answers) -> Kept:
    """Return ``boxes`` float32 (N, MOST_KEPT, 4), ``scores`` float16 and ``kinds`` int32 (N, MOST_KEPT).

    ``sizes`` int32 (N, 2) are the images' heights and widths.
    """
    count = len(answers)
    boxes = np.zeros((count, MOST_KEPT, 4), np.float32)
    scores = np.zeros((count, MOST_KEPT), np.float16)
    classes = np.full((count, MOST_KEPT), NOTHING, np.int32)
    for sample, answer in enumerate(answers):
        found = answer.sure
        filled = min(len(found.scores), MOST_KEPT)
        boxes[sample, :filled] = found.xyxy[:filled]
        scores[sample, :filled] = found.scores[:filled]
        classes[sample, :filled] = found.classes[:filled]
    sizes = np.array([answer.size for answer in answers], np.int32).reshape(count, 2)
    return {"boxes": boxes, "scores": scores, "kinds": classes, "sizes": sizes}


def kept_found(kept: Kept, sample: int) -> Found:
    """Return the stored detections of a sample."""
    filled = kept["kinds"][sample] >= 0
    return Found(
        kept["boxes"][sample][filled].astype(np.float64),
        kept["scores"][sample][filled].astype(np.float32),
        kept["kinds"][sample][filled].astype(np.int64),
    )


def keep_annotations(annotations: Sequence[Any]) -> npt.NDArray[np.float32]:
    """Return annotations as float32 (N, G, COLUMNS), for G the most objects of an image, at least one."""
    most = max((len(one.classes) for one in annotations if isinstance(one, Boxes)), default=1)
    rows = np.zeros((len(annotations), max(most, 1), COLUMNS), np.float32)
    rows[:, :, 4] = NOTHING
    for sample, own in enumerate(annotations):
        if not isinstance(own, Boxes):
            rows[sample, :, 4] = NOT_ANNOTATED
            continue
        columns = (own.xyxy, own.classes[:, None], own.crowd[:, None], own.area[:, None])
        rows[sample, : len(own.classes)] = np.concatenate(columns, axis=1)
    return rows


def kept_objects(annotations: npt.NDArray[Any], sample: int) -> tuple[Objects, npt.NDArray[np.float64]]:
    """Return the stored objects of a sample, and their areas (G,)."""
    rows = annotations[sample]
    rows = rows[rows[:, 4] >= 0].astype(np.float64)
    return Objects(rows[:, :4], rows[:, 4].astype(np.int64), rows[:, 5] > 0), rows[:, 6]


def stored_fault(kept: Kept, annotations: npt.NDArray[Any]) -> str:
    """Return what is wrong with stored arrays of (K, N, ...), in words; empty if nothing is."""
    shapes = {"boxes": (MOST_KEPT, 4), "scores": (MOST_KEPT,), "kinds": (MOST_KEPT,), "sizes": (2,)}
    if any(name not in kept or kept[name].shape[2:] != shape for name, shape in shapes.items()):
        return "its detections have another shape"
    if annotations.ndim != 3 or annotations.shape[2] != COLUMNS:
        return "its objects have another shape"
    return "" if np.isfinite(kept["boxes"]).all() else "its boxes are not finite"
