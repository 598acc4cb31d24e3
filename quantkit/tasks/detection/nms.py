"""Class-aware non-maximum suppression, and the overlap of boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK = 64  # boxes whose overlaps are computed at once, at least


def intersections(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the common area of each pair of boxes (M, 4) and (N, 4), as x0, y0, x1, y1: (M, N)."""
    common = _extents(first[:, 0], first[:, 2], second[:, 0], second[:, 2])
    common *= _extents(first[:, 1], first[:, 3], second[:, 1], second[:, 3])
    return common


def _extents(
    low: npt.NDArray[Any], high: npt.NDArray[Any], other_low: npt.NDArray[Any], other_high: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Return the common extent of each pair of intervals, (M, N); in place, because this takes most of the time."""
    found: npt.NDArray[Any] = np.minimum.outer(high, other_high)
    found -= np.maximum.outer(low, other_low)
    np.maximum(found, 0, out=found)
    return found


def areas(xyxy: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the area of each box of (M, 4), (M,)."""
    size: npt.NDArray[Any] = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    return size


def non_maximum_suppression(
    xyxy: npt.NDArray[Any], scores: npt.NDArray[Any], classes: npt.NDArray[np.int64], iou: float
) -> npt.NDArray[np.int64]:
    """Keep the boxes that no better box of their class overlaps with.

    Boxes are taken in the order of their scores; one is kept unless its IoU with a kept one of its class is larger
    than ``iou``. Of equal scores, the earlier comes first.

    Args:
        xyxy: The boxes, (M, 4).
        scores: Their scores, (M,).
        classes: Their classes, (M,).
        iou: The IoU from which two boxes are one object, above 0.

    Returns:
        The indices of the kept boxes, best score first.
    """
    order = np.lexsort((-scores, classes))
    xyxy, classes = xyxy[order], classes[order]
    kept = np.zeros(len(order), np.bool_)
    ends = np.append(np.flatnonzero(np.diff(classes)) + 1, len(classes))
    start = 0
    for end, following in zip(ends, np.append(ends[1:], 0), strict=True):
        if end - start >= BLOCK or following == 0 or following - start > 2 * BLOCK:  # whole classes in a block
            kept[start:end] = _greedy(xyxy[start:end], classes[start:end], iou)
            start = end
    found = order[kept]
    return found[np.lexsort((found, -scores[found]))]


def _greedy(xyxy: npt.NDArray[Any], classes: npt.NDArray[np.int64], iou: float) -> npt.NDArray[np.bool_]:
    """Return which boxes are kept; within a class they are in the order of their scores."""
    if len(xyxy) == 1:
        return np.ones(1, np.bool_)
    common, size = intersections(xyxy, xyxy), areas(xyxy)
    common *= (1 + iou) / iou  # common / (sum - common) > iou
    above = common > np.add.outer(size, size)
    if len(classes) and classes[0] != classes[-1]:
        above &= classes[:, None] == classes
    suppresses = np.triu(above, 1)
    # Whether a box is kept depends on better ones alone, so that each turn settles at least one more; as a rule, a
    # few turns settle all.
    kept = np.ones(len(xyxy), np.bool_)
    while True:
        now = ~suppresses[kept].any(axis=0)
        if np.array_equal(now, kept):
            return kept
        kept = now
