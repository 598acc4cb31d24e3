"""COCO's figures by faster-coco-eval, which equal pycocotools'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BackendMissing
from quantkit.datasets.boxes import Boxes
from quantkit.tasks.detection.decode import Found
from quantkit.tasks.detection.matching import MOST_OF_A_CLASS

SIZES = ("small", "medium", "large")  # areas up to 32² and 96² pixels, and above


@dataclass(frozen=True)
class CocoFigures:
    """COCO's figures; all are 0 to 1.

    Attributes:
        metrics: "map", "ap50", "ap75" and "ar".
        by_class: The mAP of each class that has an object, by class index.
        by_size: The mAP of small, medium and large objects, of sizes that there are.
    """

    metrics: dict[str, float]
    by_class: dict[int, float]
    by_size: dict[str, float]


def check_installed() -> None:
    """Raise BackendMissing if faster-coco-eval cannot be imported."""
    try:
        import faster_coco_eval  # noqa: F401
    except ImportError as error:
        raise BackendMissing(
            "Mean average precision needs faster-coco-eval, which is not installed.",
            "Install it with: pip install 'quantkit-int8[detection]'.",
        ) from error


def coco_figures(images: Sequence[Found], annotations: Sequence[Boxes]) -> CocoFigures:
    """Compute COCO's figures.

    Args:
        images: The detections of each image, in its pixels.
        annotations: Its objects, of which there is at least one.

    Returns:
        The figures.

    Raises:
        BackendMissing: faster-coco-eval is not installed.
    """
    check_installed()
    from faster_coco_eval import COCO, COCOeval_faster

    classes = sorted({number for own in annotations for number in own.classes[~own.crowd].tolist()})
    known = set(classes)
    truth = COCO(_truth(annotations, classes))
    boxes = [row for image, own in enumerate(images) for row in _rows(image, own, known)]
    judged = COCOeval_faster(truth, truth.loadRes(boxes) if boxes else COCO(_truth([], classes)), "bbox")
    judged.params.maxDets = [MOST_OF_A_CLASS]
    judged.evaluate()
    judged.accumulate()
    precision = np.asarray(judged.eval["precision"])[..., 0]  # thresholds, recalls, classes, sizes
    recall = np.asarray(judged.eval["recall"])[..., 0]  # thresholds, classes, sizes
    every = precision[..., 0]
    return CocoFigures(
        metrics={
            "map": _mean(every),
            "ap50": _mean(every[0]),
            "ap75": _mean(every[5]),
            "ar": _mean(recall[..., 0]),
        },
        by_class={number: _mean(every[..., place]) for place, number in enumerate(classes)},
        by_size={
            name: _mean(precision[..., 1 + place])
            for place, name in enumerate(SIZES)
            if (precision[..., 1 + place] > -1).any()
        },
    )


def _mean(values: npt.NDArray[Any]) -> float:
    """Return the mean of what could be measured; the rest is -1."""
    return float(values[values > -1].mean())


def _truth(annotations: Sequence[Boxes], classes: Sequence[int]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for image, own in enumerate(annotations):
        for xyxy, number, crowd, area in zip(
            own.xyxy.tolist(), own.classes.tolist(), own.crowd.tolist(), own.area.tolist(), strict=True
        ):
            if number not in classes:  # only in crowds, which are not judged
                continue
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": image + 1,
                    "category_id": number + 1,
                    "bbox": [xyxy[0], xyxy[1], xyxy[2] - xyxy[0], xyxy[3] - xyxy[1]],
                    "area": area,
                    "iscrowd": int(crowd),
                }
            )
    return {
        "info": {},
        "images": [
            {"id": image + 1, "height": own.height, "width": own.width} for image, own in enumerate(annotations)
        ],
        "annotations": rows,
        "categories": [{"id": number + 1, "name": str(number)} for number in classes],
    }


def _rows(image: int, found: Found, classes: set[int]) -> list[dict[str, Any]]:
    sizes = found.xyxy[:, 2:] - found.xyxy[:, :2]
    boxes = np.concatenate([found.xyxy[:, :2], sizes], axis=1).tolist()
    return [
        {"image_id": image + 1, "category_id": number + 1, "bbox": box, "score": score}
        for box, score, number in zip(boxes, found.scores.tolist(), found.classes.tolist(), strict=True)
        if number in classes
    ]
