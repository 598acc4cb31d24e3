"""mAP equals pycocotools', by faster-coco-eval and by the resampled way; resamples equal copies of images."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import numpy as np
import pytest

from quantkit.core.presets import PRESETS
from quantkit.datasets.base import Dataset, Inputs, Unreadable
from quantkit.datasets.boxes import Boxes
from quantkit.tasks.detection import Detection
from quantkit.tasks.detection.average_precision import NAMES, RECALLS, MatchedImages, recalls_reached
from quantkit.tasks.detection.coco import SIZES, coco_figures
from quantkit.tasks.detection.decode import Found
from quantkit.tasks.detection.matching import Objects, match
from tests.tasks.detection.scenes import random_scenes

pytest.importorskip("faster_coco_eval")


class Annotated(Dataset):
    """Annotations without samples."""

    source, preprocess, names = "annotated", PRESETS["yolo"], ()

    def __init__(self, annotations: list[Boxes]) -> None:
        self.annotations = annotations

    def load(self, index: int) -> tuple[Inputs, bytes]:
        raise Unreadable("it has no pixels")


def objects_of(boxes: Boxes) -> Objects:
    return Objects(boxes.xyxy, boxes.classes, boxes.crowd)


def matched(found: list[Found], boxes: list[Boxes]) -> MatchedImages:
    return MatchedImages.of([match(own, objects_of(its)) for own, its in zip(found, boxes, strict=True)])


def of_pycocotools(found: list[Found], boxes: list[Boxes]) -> tuple[np.ndarray, np.ndarray]:
    """Return pycocotools' twelve figures, and its precision (thresholds, recalls, classes, sizes)."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    truth = coco.COCO()
    truth.dataset = {
        "images": [{"id": image} for image in range(len(boxes))],
        "categories": [{"id": number} for number in range(6)],
        "annotations": [
            {
                "id": 1000 * image + place + 1,
                "image_id": image,
                "category_id": int(number),
                "bbox": [edges[0], edges[1], edges[2] - edges[0], edges[3] - edges[1]],
                "area": float(area),
                "iscrowd": int(crowd),
            }
            for image, own in enumerate(boxes)
            for place, (edges, number, crowd, area) in enumerate(
                zip(own.xyxy.tolist(), own.classes, own.crowd, own.area, strict=True)
            )
        ],
    }
    rows = [
        [image, edges[0], edges[1], edges[2] - edges[0], edges[3] - edges[1], float(score), int(number)]
        for image, own in enumerate(found)
        for edges, score, number in zip(own.xyxy.tolist(), own.scores, own.classes, strict=True)
    ]
    with redirect_stdout(io.StringIO()):
        truth.createIndex()
        judged = cocoeval.COCOeval(truth, truth.loadRes(np.array(rows)), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return judged.stats, judged.eval["precision"][..., 2]


@pytest.mark.parametrize("seed", range(4))
def test_all_figures_equal_pycocotools(seed: int) -> None:
    found, boxes = random_scenes(seed=seed)
    stats, precision = of_pycocotools(found, boxes)
    figures = coco_figures(found, boxes)
    wanted = dict(zip(NAMES, (stats[0], stats[1], stats[2], stats[8]), strict=True))
    assert 0.1 < stats[0] < 0.9
    assert figures.metrics == pytest.approx(wanted, abs=1e-6)
    own = matched(found, boxes).figures(np.ones((1, len(boxes)), np.float32))
    assert {name: float(values[0]) for name, values in own.items()} == pytest.approx(wanted, abs=1e-9)
    assert figures.by_size == pytest.approx(dict(zip(SIZES, stats[3:6], strict=True)), abs=1e-6)
    for number, value in figures.by_class.items():
        assert value == pytest.approx(precision[:, :, number, 0].mean(), abs=1e-6)


def test_an_image_that_is_drawn_twice_counts_twice() -> None:
    found, boxes = random_scenes(images=15)
    weights = np.random.default_rng(0).integers(0, 3, (5, 15)).astype(np.float32)
    drawn = matched(found, boxes).figures(weights)
    for sample, counts in enumerate(weights.astype(int)):
        places = np.repeat(np.arange(15), counts)
        copies = matched([found[i] for i in places], [boxes[i] for i in places])
        alone = copies.figures(np.ones((1, len(places)), np.float32))
        for name in NAMES:
            # Copies of a detection have equal scores, whose order decides the last digits.
            assert drawn[name][sample] == pytest.approx(alone[name][0], abs=0.02)


def test_perfect_detections_have_an_ap_of_one_and_none_have_zero() -> None:
    _, boxes = random_scenes(images=10)
    plain = [Boxes(b.xyxy, b.classes, np.zeros_like(b.crowd), b.area, 640, 640) for b in boxes]
    found = [Found(b.xyxy, np.full(len(b.classes), 0.9, np.float32), b.classes) for b in plain]
    nothing = [Found(np.zeros((0, 4)), np.zeros(0, np.float32), np.zeros(0, np.int64))] * len(plain)
    assert coco_figures(found, plain).metrics == {"map": 1.0, "ap50": 1.0, "ap75": 1.0, "ar": 1.0}
    assert coco_figures(nothing, plain).metrics == {"map": 0.0, "ap50": 0.0, "ap75": 0.0, "ar": 0.0}
    weights = np.ones((1, 10), np.float32)
    assert matched(found, plain).figures(weights)["map"][0] == pytest.approx(1)
    assert matched(nothing, plain).figures(weights)["map"][0] == 0


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from quantkit.core.errors import BackendMissing

    monkeypatch.setitem(__import__("sys").modules, "faster_coco_eval", None)
    found, boxes = random_scenes(images=2)
    with pytest.raises(BackendMissing, match=r"pip install 'quantkit-int8\[detection\]'"):
        coco_figures(found, boxes)
    with pytest.raises(BackendMissing):  # before anything is measured
        Detection().check([], Annotated(boxes))


def test_recalls_are_counted_as_a_search_counts_them() -> None:
    hits = np.arange(1, 400)
    shares = [np.concatenate([np.arange(count + 1) / count for count in hits]), RECALLS]
    recalls = np.concatenate([*shares, np.nextafter(RECALLS[:-1], 1), np.nextafter(RECALLS[1:], 0)])
    assert np.array_equal(recalls_reached(recalls), np.searchsorted(RECALLS, recalls, side="right"))
