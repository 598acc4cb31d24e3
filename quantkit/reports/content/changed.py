"""Changed answers: the samples for which INT8 answers differently from FP32, by class and by image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Comparison, Row
from quantkit.core.errors import BadConfig
from quantkit.core.predictions import Predictions
from quantkit.reports.content.maps import MapChanges, map_changes
from quantkit.reports.content.objects import ObjectChanges, object_changes
from quantkit.reports.content.verdict import judged_rows
from quantkit.tasks import Caption, Kept, Task, task_named
from quantkit.tasks.detection import Detection
from quantkit.tasks.segmentation import Segmentation

MOST_IMAGES = 24
MOST_PAIRS = 12
MOST_CLASSES = 12


@dataclass(frozen=True)
class Flip:
    """A sample that two models answer differently; ``label`` is empty if it has no annotation."""

    name: str
    label: str
    before: Caption
    after: Caption


@dataclass(frozen=True)
class ClassChange:
    """The number of samples of a class, and how many of them each model has right."""

    name: str
    samples: int
    before: int
    after: int


@dataclass(frozen=True)
class Changed:
    """The answers of a row that differ from those of its FP32, or of another run's row.

    Attributes:
        row: The row.
        samples: The number of all samples.
        lost: The number of samples that only the other model has right; without labels, of all that differ.
        won: The number of samples that only this row has right.
        wrong: The number of samples that both have wrong, with different answers.
        images: The lost samples that FP32 was most confident of.
        pairs: The other's answer, the row's answer, and their count.
        classes: The classes with the largest changes.
        labelled: True if any sample has a label.
        objects: The objects that only one model detects, for detectors; then there are no single images.
        maps: The maps that differ, for segmentation; then there are no single images either.
    """

    row: Row
    samples: int
    lost: int
    won: int
    wrong: int
    images: tuple[Flip, ...]
    pairs: tuple[tuple[str, str, int], ...]
    classes: tuple[ClassChange, ...]
    labelled: bool
    objects: ObjectChanges | None = None
    maps: MapChanges | None = None

    @property
    def count(self) -> int:
        """The number of all changed answers."""
        return self.lost + self.won + self.wrong


def changes_of(comparison: Comparison) -> list[Changed]:
    """Return the changes of each INT8 model, independent of the batch; empty if answers were not stored."""
    predictions, task = comparison.predictions, task_of(comparison)
    if predictions is None or task is None:
        return []
    found = []
    for row in {row.key: row for row in reversed(judged_rows(comparison))}.values():
        reference = next(
            (r for r in comparison.rows if r.is_reference and (r.target, r.device) == (row.target, row.device)), None
        )
        if reference is not None and {row.key, reference.key} <= set(predictions.keys):
            its, mine = predictions.keys.index(reference.key), predictions.keys.index(row.key)
            found.append(changed_between(task, row, predictions, its, mine, reference))
    return found[::-1]


def task_of(comparison: Comparison) -> Task | None:
    """Return the task of a comparison's answers; None if it is not installed here."""
    try:
        return task_named(comparison.task)
    except BadConfig:
        return None


def changed_between(
    task: Task, row: Row, predictions: Predictions, its: int, mine: int, other: Row | None = None
) -> Changed:
    """Find the answers that differ between two models.

    Args:
        task: The task of the answers.
        row: The row of the model ``mine``.
        predictions: The answers of both models.
        its: The number of the model to compare with.
        mine: The number of the row's model.
        other: The row of the model to compare with.

    Returns:
        The changed answers.
    """
    if isinstance(task, Detection):
        return _changed_objects(task, row, predictions, its, mine, other)
    if isinstance(task, Segmentation):
        differ = int((~task.agree(predictions.of(its), predictions.of(mine))).sum())
        maps = map_changes(predictions, its, mine, (other, row))
        return Changed(row, len(predictions.labels), 0, 0, differ, (), (), (), bool(row.parts), None, maps)
    before, after, labels = predictions.of(its), predictions.of(mine), predictions.labels
    known = task.annotated(labels)
    labelled = bool(known.any())
    flipped = ~task.agree(before, after)
    was, still = task.right(before, labels), task.right(after, labels)
    lost = flipped & was if labelled else flipped
    won = flipped & still if labelled else np.zeros_like(flipped)
    captions = {i: _captions(task, predictions, before, after, i) for i in np.flatnonzero(flipped).tolist()}
    worst = sorted(np.flatnonzero(lost).tolist(), key=lambda i: (-(captions[i][0].confidence or 0.0), i))[:MOST_IMAGES]
    pairs = Counter((first.text, second.text) for first, second in captions.values()).most_common(MOST_PAIRS)
    label = {
        i: task.annotation_caption(labels, i, predictions.classes) for i in (range(len(labels)) if labelled else ())
    }
    return Changed(
        row=row,
        samples=len(labels),
        lost=int(lost.sum()),
        won=int(won.sum()),
        wrong=int((flipped & ~lost & ~won).sum()),
        images=tuple(Flip(predictions.names[i], label.get(i, ""), *captions[i]) for i in worst),
        pairs=tuple((first, second, count) for (first, second), count in pairs),
        classes=_by_class(label, was, still) if labelled else (),
        labelled=labelled,
    )


def _changed_objects(
    task: Detection, row: Row, predictions: Predictions, its: int, mine: int, other: Row | None
) -> Changed:
    before, after, labels = predictions.of(its), predictions.of(mine), predictions.labels
    differ = int((~task.agree(before, after)).sum())
    objects = object_changes(predictions, its, mine, (other, row))
    return Changed(row, len(labels), 0, 0, differ, (), (), (), bool(task.annotated(labels).any()), objects)


def _captions(task: Task, predictions: Predictions, before: Kept, after: Kept, sample: int) -> tuple[Caption, Caption]:
    classes = predictions.classes
    return task.caption(before, sample, classes), task.caption(after, sample, classes)


def _by_class(
    label: Mapping[int, str], was: npt.NDArray[np.bool_], still: npt.NDArray[np.bool_]
) -> tuple[ClassChange, ...]:
    """Return the classes whose share of right answers changed most, losses first."""
    samples: dict[str, list[int]] = {}
    for sample, name in label.items():
        if name:
            samples.setdefault(name, []).append(sample)
    found = [ClassChange(name, len(own), int(was[own].sum()), int(still[own].sum())) for name, own in samples.items()]
    worst = sorted((c for c in found if c.before != c.after), key=lambda c: (c.after - c.before) / c.samples)
    kept = worst if len(worst) <= MOST_CLASSES else worst[: MOST_CLASSES // 2] + worst[-MOST_CLASSES // 2 :]
    return tuple(kept)
