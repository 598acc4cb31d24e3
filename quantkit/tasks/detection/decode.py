"""Turns a detector's outputs into boxes, scores and classes for each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadConfig
from quantkit.tasks.detection.heads import Head
from quantkit.tasks.detection.nms import non_maximum_suppression

LEAST_SCORE = 0.001  # for mean average precision, which wants the uncertain detections too
MOST_CANDIDATES = 1000  # boxes of one sample that are suppressed among each other, best scores first
MOST_DETECTIONS = 300  # of one sample
Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Found:
    """The detections in one sample, best score first.

    Attributes:
        xyxy: The edges of the boxes, float64 (M, 4).
        scores: float32 (M,).
        classes: int64 (M,).
    """

    xyxy: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]


def decode(head: Head, roles: Mapping[str, Array], size: tuple[int, int] | None) -> list[Found]:
    """Decode one batch.

    Args:
        head: The meaning of the outputs.
        roles: The outputs by role, see :meth:`Head.roles`, with samples along the first axis.
        size: (height, width) of the model's input, for heads with shares of it or with strides; None leaves boxes as
            they are.

    Returns:
        The detections of each sample in the pixels of the model's input: at most MOST_DETECTIONS with a score above
        LEAST_SCORE. Boxes that are not finite are left out.

    Raises:
        BadConfig: There are more or fewer candidates than a head with strides has cells.
    """
    count = len(next(iter(roles.values())))
    candidates = {"joined": _joined, "listed": _listed, "separate": _separate, "lists": _lists}[head.form]
    found = []
    cells = _cells(head.strides, size)
    for sample in range(count):
        own = {role: values[sample] for role, values in roles.items()}
        if cells is not None:
            own["joined"] = _placed(own["joined"], cells)
        boxes, scores, classes = candidates(head, own)
        found.append(_detections(head, boxes, scores, classes, size))
    return found


def _cells(strides: Sequence[int], size: tuple[int, int] | None) -> npt.NDArray[np.float32] | None:
    """Return column, row and stride of each cell of all feature maps, (candidates, 3); None if there are none."""
    if not strides or size is None:
        return None
    maps = []
    for stride in strides:
        rows, columns = np.meshgrid(*(np.arange(side // stride) for side in size), indexing="ij")
        maps.append(np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, stride)], axis=1))
    return np.concatenate(maps).astype(np.float32)


def _placed(table: Array, cells: npt.NDArray[np.float32]) -> Array:
    """Return candidates (N, 4 + …) whose boxes are relative to cells, with boxes in pixels of the input."""
    table = table.reshape(table.shape[-2:])
    if len(table) != len(cells):
        raise BadConfig(
            f"The model gives {len(table)} candidates, but an input of this size has {len(cells)} cells.",
            "Choose another head (--task-head, task_head=).",
        )
    with np.errstate(over="ignore"):
        centres, sides = (table[:, :2] + cells[:, :2]) * cells[:, 2:], np.exp(table[:, 2:4]) * cells[:, 2:]
    return np.concatenate([centres, sides, table[:, 4:]], axis=1)


def _joined(head: Head, values: Mapping[str, Array]) -> tuple[Array, Array, Array]:
    table = values["joined"].reshape(values["joined"].shape[-2:])
    table = table if head.channels_first else table.T  # (4 + classes, candidates)
    scores = table[4:]
    if head.objectness:
        table = table[:, np.flatnonzero(table[4] > LEAST_SCORE)]
        scores = table[5:] * table[4]
    flat = np.flatnonzero(np.ascontiguousarray(scores > LEAST_SCORE))  # much faster than nonzero in two dimensions
    classes, places = np.divmod(flat, scores.shape[1] or 1)
    return table[:4, places].T, scores[classes, places], classes


def _listed(head: Head, values: Mapping[str, Array]) -> tuple[Array, Array, Array]:
    table = values["joined"].reshape(-1, 6)
    return table[:, :4], table[:, 4], _whole(table[:, 5])


def _separate(head: Head, values: Mapping[str, Array]) -> tuple[Array, Array, Array]:
    boxes, logits = values["boxes"].reshape(-1, 4), values["logits"].astype(np.float32)
    logits = logits.reshape(-1, logits.shape[-1])
    with np.errstate(over="ignore", invalid="ignore"):
        if head.activation == "softmax":
            powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
            shares = (powers / powers.sum(axis=1, keepdims=True))[:, :-1]
            best = np.nan_to_num(shares, nan=-1.0).argmax(axis=1)
            return boxes, shares[np.arange(len(shares)), best], best
        scores = 1 / (1 + np.exp(-logits))
    queries, classes = np.nonzero(scores > LEAST_SCORE)
    return boxes[queries], scores[queries, classes], classes


def _lists(head: Head, values: Mapping[str, Array]) -> tuple[Array, Array, Array]:
    boxes, scores = values["boxes"].reshape(-1, 4), values["scores"].reshape(-1)
    labels = _whole(values["labels"].reshape(-1)) - head.first_label
    filled = len(scores)
    if "count" in values and values["count"].size == 1:
        filled = min(max(int(values["count"].reshape(-1)[0]), 0), filled)
    real = labels[:filled] >= 0  # not the background
    return boxes[:filled][real], scores[:filled][real], labels[:filled][real]


def _whole(numbers: Array) -> npt.NDArray[np.int64]:
    return np.nan_to_num(np.rint(numbers), nan=-1.0, posinf=-1.0, neginf=-1.0).astype(np.int64)


def _detections(head: Head, boxes: Array, scores: Array, classes: Array, size: tuple[int, int] | None) -> Found:
    most = MOST_DETECTIONS if head.nms_iou is None else MOST_CANDIDATES
    with np.errstate(invalid="ignore"):
        likely = np.flatnonzero((scores > LEAST_SCORE) & np.isfinite(scores) & np.isfinite(boxes).all(axis=1))
    if len(likely) > most:
        likely = np.sort(likely[np.argpartition(-scores[likely], most)[:most]])
    best = likely[np.argsort(-scores[likely], kind="stable")]
    xyxy, scores, classes = boxes[best].astype(np.float32), scores[best].astype(np.float32), classes[best]
    if head.box == "cxcywh":
        half = xyxy[:, 2:] / 2
        xyxy = np.concatenate([xyxy[:, :2] - half, xyxy[:, :2] + half], axis=1)
    if head.normalized and size is not None:
        xyxy *= np.array([size[1], size[0], size[1], size[0]], np.float32)
    if head.nms_iou is not None:
        kept = non_maximum_suppression(xyxy, scores, classes, head.nms_iou)[:MOST_DETECTIONS]
        xyxy, scores, classes = xyxy[kept], scores[kept], classes[kept]
    return Found(xyxy.astype(np.float64), scores, classes.astype(np.int64))
