"""Non-maximum suppression keeps what a loop over boxes keeps."""

from __future__ import annotations

import numpy as np
import pytest

from quantkit.tasks.detection.nms import areas, intersections, non_maximum_suppression


def one_by_one(xyxy: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float) -> list[int]:
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable").tolist():
        others = [j for j in kept if classes[j] == classes[i]]
        common = intersections(xyxy[[i]], xyxy[others])[0]
        if not (common > iou * (areas(xyxy[[i]]) + areas(xyxy[others]) - common)).any():
            kept.append(i)
    return kept


@pytest.mark.parametrize(("count", "classes"), [(0, 1), (1, 1), (40, 1), (300, 3), (700, 1), (700, 2), (700, 90)])
def test_it_keeps_what_a_loop_keeps(count: int, classes: int) -> None:
    rng = np.random.default_rng(count + classes)
    corner, size = rng.uniform(0, 100, (count, 2)), rng.uniform(5, 60, (count, 2))
    xyxy = np.concatenate([corner, corner + size], axis=1)
    scores = np.round(rng.random(count), 2)  # with ties
    numbers = rng.integers(0, classes, count)
    found = non_maximum_suppression(xyxy, scores, numbers, 0.5)
    assert found.tolist() == one_by_one(xyxy, scores, numbers, 0.5)


def test_boxes_of_other_classes_do_not_suppress() -> None:
    xyxy = np.array([[0, 0, 10, 10.0]] * 3)
    found = non_maximum_suppression(xyxy, np.array([0.5, 0.9, 0.7]), np.array([0, 1, 0]), 0.5)
    assert found.tolist() == [1, 2]
