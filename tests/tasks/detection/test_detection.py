"""The task's figures: equal to FP32 is equal, a loss is found, classes are matched by name, arrays survive storing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from quantkit.core.errors import BadConfig, BadData
from quantkit.core.preprocess import Preparation, Preprocess
from quantkit.core.presets import PRESETS
from quantkit.datasets.base import Dataset, Inputs, Unreadable
from quantkit.datasets.boxes import Boxes
from quantkit.graph.model_io import ModelInput
from quantkit.tasks import Result, known_metrics, task_named
from quantkit.tasks.choice import detection_for
from quantkit.tasks.detection import Detection
from quantkit.tasks.detection.answers import Answer
from quantkit.tasks.detection.decode import Found
from quantkit.tasks.detection.matching import Objects, match
from tests.tasks.detection.scenes import random_scenes

pytest.importorskip("faster_coco_eval")
INPUTS = [ModelInput("images", (1, 3, 64, 64), "float32")]
HEAD = [ModelInput("output0", (1, 7, 84), "float32")]
NONE = Found(np.zeros((0, 4)), np.zeros(0, np.float32), np.zeros(0, np.int64))


class Fake(Dataset):
    """Annotated samples without pixels."""

    source, preprocess = "fake", PRESETS["yolo"].model_copy(update={"size": (64, 64)})
    names: Sequence[str] = ()

    def __init__(self, annotations: Sequence[object] | None, classes: Sequence[str]) -> None:
        self.annotations, self.classes = annotations, classes

    def load(self, index: int) -> tuple[Inputs, bytes]:
        raise Unreadable("it has no pixels")


def answers_of(found: Sequence[Found], boxes: Sequence[Boxes]) -> list[Answer]:
    return [
        Answer(own, (640, 640), match(own, Objects(its.xyxy, its.classes, its.crowd)))
        for own, its in zip(found, boxes, strict=True)
    ]


def scored(own: list[Answer], reference: list[Answer], annotations: Sequence[Boxes] | None) -> Result:
    scorer = Detection(names=["a", "b", "c", "d"]).scorer()
    for start in range(0, len(own), 7):
        part = slice(start, start + 7)
        scorer.update(own[part], reference[part], None if annotations is None else annotations[part])
    return scorer.result()


def without(found: Found, share: float, rng: np.random.Generator) -> Found:
    kept = rng.random(len(found.scores)) >= share
    return Found(found.xyxy[kept], found.scores[kept], found.classes[kept])


def test_what_equals_fp32_is_called_equal() -> None:
    found, boxes = random_scenes()
    own = answers_of(found, boxes)
    result = scored(own, own, boxes)
    assert set(result.metrics) == {"map", "ap50", "ap75", "ar", "f1_50", "f1_75"}
    assert result.metrics["f1_75"].value == 1
    assert result.agreement is not None
    assert result.agreement.value == 1
    assert all((one.p_value, one.low, one.high) == (1, 0, 0) for one in result.changes.values())
    low, high = result.metrics["map"].low, result.metrics["map"].high
    assert low is not None
    assert high is not None
    assert low < result.metrics["map"].value < high
    assert {part.name for part in result.parts} == {"a", "b", "c", "d", "small", "medium", "large"}
    assert sum(part.objects for part in result.parts if part.kind == "size") == sum((~b.crowd).sum() for b in boxes)


def test_lost_detections_are_a_loss_beyond_chance_and_few_are_not() -> None:
    found, boxes = random_scenes(120)
    reference = answers_of(found, boxes)
    rng = np.random.default_rng(0)
    half = scored(answers_of([without(one, 0.5, rng) for one in found], boxes), reference, boxes)
    change = half.changes["map"]
    assert change.p_value < 0.01
    assert change.lost > change.won
    assert change.low > 0
    assert half.metrics["f1_50"].value < 0.8
    changed = list(found)
    changed[1] = without(found[1], 0.5, rng)
    few = scored(answers_of(changed, boxes), reference, boxes)
    assert few.changes["map"].p_value > 0.05


def test_the_intervals_cover_the_difference_and_do_not_change_with_the_run() -> None:
    found, boxes = random_scenes(60)
    own, reference = (
        answers_of([without(one, 0.2, np.random.default_rng(1)) for one in found], boxes),
        answers_of(found, boxes),
    )
    first, second = scored(own, reference, boxes), scored(own, reference, boxes)
    assert first == second
    drop = scored(reference, reference, boxes).metrics["map"].value - first.metrics["map"].value
    assert first.changes["map"].low <= drop <= first.changes["map"].high


def test_without_annotations_there_is_only_what_fp32_says() -> None:
    found, boxes = random_scenes()
    own = answers_of(found, boxes)
    assert set(scored(own, own, None).metrics) == {"f1_50", "f1_75"}
    assert scored(own, own, None).changes == {}


def test_a_detection_of_another_class_or_place_does_not_agree() -> None:
    box = np.array([[0, 0, 10, 10.0]])
    one = [Answer(Found(box, np.array([0.9], np.float32), np.array([0])))]
    other = [Answer(Found(box, np.array([0.9], np.float32), np.array([1])))]
    moved = [Answer(Found(box + [4, 0, 4, 0], np.array([0.9], np.float32), np.array([0])))]  # noqa: RUF005
    near = [Answer(Found(box + [2, 0, 2, 0], np.array([0.9], np.float32), np.array([0])))]  # noqa: RUF005
    unsure = [Answer(Found(box, np.array([0.2], np.float32), np.array([0])))]
    for own, f1 in ((one, (1, 1)), (other, (0, 0)), (moved, (0, 0)), (near, (1, 0)), (unsure, (0, 0))):
        result = scored(own, one, None)
        assert (result.metrics["f1_50"].value, result.metrics["f1_75"].value) == f1
        assert result.agreement is not None
        assert result.agreement.value == f1[0]


def test_nothing_detected_anywhere_is_no_agreement() -> None:
    result = scored([Answer(NONE)] * 5, [Answer(NONE)] * 5, None)
    assert (result.metrics, result.agreement) == ({}, None)
    assert "Nothing is detected" in result.warnings[0]
    _, boxes = random_scenes(5)
    result = scored(answers_of([NONE] * 5, boxes), answers_of([NONE] * 5, boxes), boxes)
    assert result.metrics["map"].value == 0
    assert any("probably wrong" in warning for warning in result.warnings)


def boxes_of(*classes: int) -> Boxes:
    count = len(classes)
    edges = np.tile([[0.0, 0.0, 8.0, 8.0]], (count, 1))
    return Boxes(edges, np.array(classes, np.int64), np.zeros(count, np.bool_), np.full(count, 64.0), 64, 64)


def test_classes_are_matched_by_name_else_by_number() -> None:
    metadata = {"task": "detect", "names": "{0: 'cat', 1: 'dog', 2: 'cow'}"}

    def task(classes: Sequence[str], *used: int, names: bool = True) -> Detection:
        data = Fake([boxes_of(*used)], classes)
        found = detection_for("auto", None if names else "yolov8", INPUTS, HEAD, metadata if names else {}, data)
        assert found is not None
        return found

    by_name = task(["unused", "cow", "cat"], 1, 2)
    assert by_name.of_annotations([boxes_of(1, 2), None])[0].classes.tolist() == [2, 0]
    assert by_name.names == ("cat", "dog", "cow")
    by_number = task(["Katze", "Hund", "Kuh"], 0, 2)
    assert by_number.of_annotations([boxes_of(2)])[0].classes.tolist() == [2]
    assert task(["x", "y", "z"], 0, names=False).names == ("x", "y", "z")
    with pytest.raises(BadData, match="has the class 'Dog', which is none of the model's"):
        task(["Dog", "cat", "cow"], 0)
    with pytest.raises(BadData, match="has 2 classes, but the model has 3"):
        task(["x", "y"], 0, 1)


def test_detection_is_chosen_by_boxes_and_by_what_the_file_says() -> None:
    metadata = {"task": "detect", "names": "['cat', 'dog', 'cow']"}
    plain = Fake(None, ())
    assert detection_for("auto", None, INPUTS, HEAD, metadata, plain) is not None
    assert detection_for("auto", None, INPUTS, HEAD, {}, plain) is None
    assert detection_for("auto", None, INPUTS, HEAD, {"task": "detect"}, plain) is None  # its head is not certain
    assert detection_for("auto", None, INPUTS, HEAD, {}, Fake([boxes_of(0)], ["a", "b", "c"])) is not None
    with pytest.raises(BadConfig, match=r"output0 \(1, 7, 84\) do not show for data of 4 classes"):
        detection_for("auto", None, INPUTS, HEAD, {}, Fake([boxes_of(0)], ["a", "b", "c", "d"]))
    with pytest.raises(BadData, match="The annotation 3 is not boxes"):
        Detection().check(HEAD, Fake([3], ["a"]))


def test_boxes_come_back_in_the_images_own_pixels() -> None:
    data = Fake(
        [Boxes(np.array([[40, 20, 80, 60.0]]), np.zeros(1, np.int64), np.zeros(1, np.bool_), np.ones(1), 64, 128)],
        ["a", "b", "c"],
    )
    task = detection_for("detection", "yolov8", INPUTS, HEAD, {}, data)
    assert task is not None
    values = np.zeros((1, 7, 84), np.float32)
    values[0, :, 5] = [30, 36, 20, 20, 0.9, 0, 0]  # 128x64 lies in 64x64 at half size, 16 rows down
    values[0, :, 6] = [30, 8, 20, 10, 0.8, 0, 0]  # in the border above it
    (answer,) = task.of_samples(task.decode({"output0": values}), data, [0])
    assert answer.found.xyxy.tolist() == [[40, 20, 80, 60]]
    assert answer.matches is not None
    assert answer.matches.right.all()
    assert task.decode({"other": values}) is None


def test_samples_without_pixels_keep_the_inputs_own() -> None:
    data = Fake(None, ())
    data.preprocess = Preparation(name="x", description="x")  # type: ignore[assignment]
    task = detection_for("detection", "yolov8", INPUTS, HEAD, {}, data)
    assert task is not None
    values = np.zeros((1, 7, 84), np.float32)
    values[0, :, 5] = [30, 36, 20, 20, 0.9, 0, 0]
    (answer,) = task.of_samples(task.decode({"output0": values}), data, [0])
    assert answer.found.xyxy.tolist() == [[20, 26, 40, 46]]
    assert answer.size == (0, 0)


def test_what_is_stored_tells_which_images_agree_and_are_right() -> None:
    found, boxes = random_scenes(12)
    task = task_named("detection")
    plain = [Boxes(b.xyxy, b.classes, np.zeros_like(b.crowd), b.area, 640, 640) for b in boxes]
    perfect = [Found(b.xyxy, np.full(len(b.classes), 0.9, np.float32), b.classes) for b in plain]
    own, other = answers_of(perfect, plain), answers_of(found, plain)
    kept, its = task.keep(own), task.keep(other)
    labels = task.keep_annotations([*plain[:-1], None])
    assert task.annotated(labels).tolist() == [True] * 11 + [False]
    assert task.right(kept, labels).tolist() == [True] * 11 + [False]
    assert not task.right(its, labels).all()
    assert task.agree(kept, kept).all()
    assert not task.agree(kept, its).all()
    stacked = {name: np.stack([values, its[name]]) for name, values in kept.items()}
    assert task.stored_fault(stacked, labels, ()) == ""
    assert task.stored_fault({**stacked, "boxes": stacked["boxes"][..., :2]}, labels, ()) != ""
    assert task.stored_fault(stacked, labels[..., :2], ()) != ""
    assert task.caption(kept, 0, ("a", "b", "c", "d")).text == "nothing"
    assert "class" in task.caption(kept, 1, ()).text
    assert task.annotation_caption(labels, 11, ()) == "nothing"


def test_its_metrics_are_known_before_anything_is_measured() -> None:
    assert {"map", "ap50", "ar", "f1_50"} <= known_metrics().keys()
    assert isinstance(PRESETS["yolo"], Preprocess)
