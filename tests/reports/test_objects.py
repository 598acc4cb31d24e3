"""Lost and won objects: counted by class and size, named, drawn, and no markup of a hostile name gets through."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quantkit.core.comparison import Comparison, Part
from quantkit.core.predictions import Predictions
from quantkit.datasets.boxes import Boxes
from quantkit.reports.content.changed import changes_of
from quantkit.reports.html import html_report
from quantkit.tasks.detection import Detection
from quantkit.tasks.detection.answers import Answer
from quantkit.tasks.detection.decode import Found
from tests.reports.builders import comparison, reference_row, row

EDGES = np.array([[10, 10, 30, 30], [50, 50, 110, 110], [200, 10, 330, 140.0]])  # small, medium, large
KINDS = np.array([0, 1, 1])


def found(*chosen: int) -> Answer:
    places = list(chosen)
    scores = np.linspace(0.9, 0.6, len(places)).astype(np.float32)
    return Answer(Found(EDGES[places], scores, KINDS[places]), (200, 400))


def compared(annotated: bool, classes: tuple[str, ...] = ("cat", "dog")) -> Comparison:
    task = Detection()
    before, after = [found(0, 1, 2), found(0, 1), found()], [found(0, 1), found(0, 1), found(2)]
    boxes = Boxes(EDGES, KINDS, np.zeros(3, np.bool_), np.array([400, 3600, 16900.0]), 200, 400)
    kept = [task.keep(before), task.keep(after)]
    rows = (reference_row(), row())
    part = Part(kind="class", name=classes[0], value=0.5, objects=3)
    return comparison(*(one.model_copy(update={"parts": (part,)}) for one in rows)).model_copy(
        update={
            "task": "detection",
            "metrics": Detection.metrics,
            "predictions": Predictions(
                names=("a.png", "b.png", "c.png"),
                classes=classes,
                labels=task.keep_annotations([boxes if annotated else None] * 3),
                keys=tuple(one.key for one in rows),
                kept={name: np.stack([one[name] for one in kept]) for name in kept[0]},
            ),
        }
    )


def test_lost_and_won_objects_are_counted() -> None:
    (changed,) = changes_of(compared(annotated=True))
    objects = changed.objects
    assert objects is not None
    assert (objects.lost, objects.won, objects.images, changed.count) == (1, 1, 2, 2)
    dog = next(group for group in objects.classes if group.name == "dog")
    assert (dog.objects, dog.lost, dog.won) == (6, 1, 1)
    cat = next(group for group in objects.classes if group.name == "cat")
    assert (cat.before, cat.after, cat.lost) == (0.5, 0.5, 0)
    assert [(size.name, size.objects, size.lost, size.won) for size in objects.sizes] == [
        ("small", 3, 0, 0),
        ("medium", 3, 0, 0),
        ("large", 3, 1, 1),
    ]
    assert [(one.name, one.both, one.only_before, one.only_after) for one in objects.pictures] == [
        ("c.png", 0, "", "1 dog"),
        ("a.png", 2, "1 dog", ""),
    ]


def test_without_annotations_fp32s_detections_stand_for_objects() -> None:
    (changed,) = changes_of(compared(annotated=False))
    objects = changed.objects
    assert objects is not None
    assert not objects.annotated
    assert (objects.lost, objects.won) == (1, 1)
    assert sum(group.objects for group in objects.sizes) == 5
    page = html_report(None, compared(annotated=False), None)
    assert "Only FP32" in page
    assert "1 detection of FP32 alone, 1 of INT8 alone" in page


def test_boxes_are_drawn_with_a_key_and_words_and_names_are_escaped() -> None:
    page = html_report(None, compared(annotated=True, classes=("<script>x", "dog")), None)
    assert "<script>x" not in page
    assert "&lt;script&gt;x" in page
    assert "FP32, solid" in page
    assert "INT8, dashed" in page
    assert 'aria-label="c.png: 0 boxes of FP32, 1 of INT8"' in page
    assert '<rect class="box-after" x="200.0" y="10.0" width="130.0" height="130.0">' in page
    assert "2 of 3 images have other detections than FP32" in page


def test_a_run_whose_objects_did_not_change_has_no_pictures() -> None:
    whole = compared(annotated=True)
    assert whole.predictions is not None
    same = {name: np.stack([values[0], values[0]]) for name, values in whole.predictions.kept.items()}
    equal = whole.model_copy(update={"predictions": replace(whole.predictions, kept=same)})
    (changed,) = changes_of(equal)
    assert changed.objects is not None
    assert (changed.objects.pictures, changed.objects.lost, changed.count) == ((), 0, 0)
    assert 'drawn-key"' not in html_report(None, equal, None)
