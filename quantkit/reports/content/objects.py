"""Detected objects that one model finds and another does not, by class, by size and by image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Part, Row
from quantkit.core.predictions import Predictions
from quantkit.datasets.boxes import size_name
from quantkit.tasks.detection.decode import Found
from quantkit.tasks.detection.kept import NOT_ANNOTATED, kept_found, kept_objects
from quantkit.tasks.detection.matching import Objects, match
from quantkit.tasks.detection.nms import areas

MOST_IMAGES = 12
MOST_CLASSES = 20
SAME = np.array([0.5])  # the IoU from which two boxes are one object


@dataclass(frozen=True)
class Box:
    """A box in the pixels of its image: its left and top edge, its size and what it says."""

    left: float
    top: float
    width: float
    height: float
    text: str


@dataclass(frozen=True)
class Picture:
    """An image in which two models detect different objects.

    Attributes:
        name: The name of the sample.
        width: The width of the image in pixels.
        height: Its height.
        before: The boxes of the model that is compared with.
        after: The boxes of the row's model.
        both: The number of detections that both have.
        only_before: What the other model alone detects.
        only_after: What the row's model alone detects.
    """

    name: str
    width: int
    height: int
    before: tuple[Box, ...]
    after: tuple[Box, ...]
    both: int
    only_before: str
    only_after: str


@dataclass(frozen=True)
class Group:
    """The objects of one class or size.

    Attributes:
        name: The class or the size.
        objects: The number of annotated objects; without annotations, of the other model's detections.
        lost: The number of those that only the other model finds.
        won: The number of those that only this row finds; without annotations, of detections that it alone has.
        before: The other model's mAP; None if it is not known.
        after: This row's mAP.
    """

    name: str
    objects: int
    lost: int
    won: int
    before: float | None
    after: float | None


@dataclass(frozen=True)
class ObjectChanges:
    """The detections of a row that differ from another's.

    Attributes:
        classes: The classes with the largest changes.
        sizes: Small, medium and large objects.
        pictures: The images that differ most.
        lost: The number of objects that only the other model finds.
        won: The number of objects that only this row finds.
        annotated: True if objects are annotated ones, False if they are the other model's detections.
        images: The number of images with any difference.
    """

    classes: tuple[Group, ...]
    sizes: tuple[Group, ...]
    pictures: tuple[Picture, ...]
    lost: int
    won: int
    annotated: bool
    images: int


@dataclass(frozen=True, eq=False)
class _Image:
    """One image: lost and won objects as (class, size) pairs, and detections of one model alone."""

    sample: int
    objects: list[tuple[int, str]]
    lost: list[tuple[int, str]]
    won: list[tuple[int, str]]
    only_before: Found
    only_after: Found
    both: int

    @property
    def difference(self) -> float:
        """The scores of all detections that only one model has."""
        return float(self.only_before.scores.sum() + self.only_after.scores.sum())


def object_changes(predictions: Predictions, its: int, mine: int, rows: tuple[Row | None, Row]) -> ObjectChanges:
    """Find the objects that only one of two models detects.

    Args:
        predictions: The detections of both models.
        its: The number of the model to compare with.
        mine: The number of the row's model.
        rows: The row of either model, for mAP by class and size.

    Returns:
        The changes.
    """
    before, after, labels = predictions.of(its), predictions.of(mine), predictions.labels
    annotated = bool((labels[:, 0, 4] != NOT_ANNOTATED).any())
    images = [
        _image(sample, kept_found(before, sample), kept_found(after, sample), labels if annotated else None)
        for sample in range(len(labels))
    ]
    differing = [image for image in images if image.difference]
    worst = sorted(differing, key=lambda image: (-image.difference, image.sample))[:MOST_IMAGES]
    figures = [{(part.kind, part.name): part for part in (row.parts if row else ())} for row in rows]
    classes = [
        _group("class", number, _class_name(number, predictions.classes), images, figures)
        for number in sorted({number for image in images for number, _ in (*image.objects, *image.won)})
    ]
    sizes = [_group("size", size, size, images, figures) for size in ("small", "medium", "large")]
    return ObjectChanges(
        classes=tuple(sorted(classes, key=lambda group: (-group.lost - group.won, group.name)))[:MOST_CLASSES],
        sizes=tuple(group for group in sizes if group.objects or group.won),
        pictures=tuple(_picture(image, predictions, its, mine) for image in worst),
        lost=sum(len(image.lost) for image in images),
        won=sum(len(image.won) for image in images),
        annotated=annotated,
        images=len(differing),
    )


def _image(sample: int, before: Found, after: Found, labels: npt.NDArray[np.float32] | None) -> _Image:
    paired = match(after, _as_objects(before), SAME)
    alone_before = _where(before, ~paired.taken[0])
    alone_after = _where(after, ~paired.right[:, 0])
    if labels is None:
        objects, lost, won = (_kinds(own.classes, areas(own.xyxy)) for own in (before, alone_before, alone_after))
    else:
        real, area = kept_objects(labels, sample)
        was, still = (match(own, real, SAME).taken[0] for own in (before, after))
        numbers, area = real.classes[~real.crowd], area[~real.crowd]
        objects, lost, won = (
            _kinds(numbers[chosen], area[chosen]) for chosen in (np.ones_like(was), was & ~still, still & ~was)
        )
    return _Image(sample, objects, lost, won, alone_before, alone_after, int(paired.right.sum()))


def _as_objects(found: Found) -> Objects:
    return Objects(found.xyxy, found.classes, np.zeros(len(found.classes), np.bool_))


def _where(found: Found, chosen: npt.NDArray[np.bool_]) -> Found:
    return Found(found.xyxy[chosen], found.scores[chosen], found.classes[chosen])


def _kinds(classes: npt.NDArray[np.int64], area: npt.NDArray[np.float64]) -> list[tuple[int, str]]:
    return [(number, size_name(own)) for number, own in zip(classes.tolist(), area.tolist(), strict=True)]


def _group(
    kind: str, key: int | str, name: str, images: Sequence[_Image], figures: Sequence[dict[tuple[str, str], Part]]
) -> Group:
    place = 0 if kind == "class" else 1

    def count(pairs: Iterable[tuple[int, str]]) -> int:
        return sum(pair[place] == key for pair in pairs)

    before, after = (own.get((kind, name)) for own in figures)
    return Group(
        name,
        sum(count(image.objects) for image in images),
        sum(count(image.lost) for image in images),
        sum(count(image.won) for image in images),
        None if before is None else before.value,
        None if after is None else after.value,
    )


def _picture(image: _Image, predictions: Predictions, its: int, mine: int) -> Picture:
    height, width = (int(side) for side in predictions.of(mine)["sizes"][image.sample])
    before, after = (
        tuple(_boxes(kept_found(predictions.of(model), image.sample), predictions.classes)) for model in (its, mine)
    )
    alone = (_told(own, predictions.classes) for own in (image.only_before, image.only_after))
    return Picture(predictions.names[image.sample], width, height, before, after, image.both, *alone)


def _boxes(found: Found, classes: Sequence[str]) -> Iterable[Box]:
    for edges, number, score in zip(found.xyxy.tolist(), found.classes.tolist(), found.scores.tolist(), strict=True):
        left, top, right, bottom = edges
        name = f"{_class_name(number, classes)} {score:.2f}"
        yield Box(left, top, max(right - left, 0.0), max(bottom - top, 0.0), name)


def _told(found: Found, classes: Sequence[str]) -> str:
    names = Counter(_class_name(number, classes) for number in found.classes.tolist())
    return ", ".join(f"{count} {name}" for name, count in names.most_common())


def _class_name(number: int, classes: Sequence[str]) -> str:
    return classes[number] if 0 <= number < len(classes) else f"class {number}"
