"""What changed for users: which answers INT8 gives otherwise than FP32, by class and by image."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from quantkit.core.comparison import Comparison, Row
from quantkit.core.predictions import Predictions
from quantkit.reports.content.verdict import judged_rows

MOST_IMAGES = 24
MOST_PAIRS = 12
MOST_CLASSES = 12


@dataclass(frozen=True)
class Flip:
    """One sample that two models answer otherwise; confidences are 0..1, ``label`` is empty where there is none."""

    name: str
    label: str
    before: str
    before_confidence: float
    after: str
    after_confidence: float


@dataclass(frozen=True)
class ClassChange:
    """One class: its samples, and how many of them each model has right."""

    name: str
    samples: int
    before: int
    after: int


@dataclass(frozen=True)
class Changed:
    """What one row answers otherwise than its FP32, or than another run's row.

    Without labels ``lost`` holds all of it, and ``won`` nothing. ``pairs`` are the other's answer, the row's, and how
    often; ``wrong`` counts samples that both have wrong, differently.
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

    @property
    def count(self) -> int:
        """All that changed."""
        return self.lost + self.won + self.wrong


def changes_of(comparison: Comparison) -> list[Changed]:
    """One for each INT8 model, whatever its batches; empty where the samples' answers were not kept."""
    predictions = comparison.predictions
    if predictions is None:
        return []
    found = []
    for row in {row.key: row for row in reversed(judged_rows(comparison))}.values():
        reference = next(
            (r for r in comparison.rows if r.is_reference and (r.target, r.device) == (row.target, row.device)), None
        )
        if reference is not None and {row.key, reference.key} <= set(predictions.keys):
            its, mine = predictions.keys.index(reference.key), predictions.keys.index(row.key)
            found.append(changed_between(row, predictions, its, mine))
    return found[::-1]


def changed_between(row: Row, predictions: Predictions, its: int, mine: int) -> Changed:
    """What the model number ``mine``, which is the row's, answers otherwise than the model number ``its``."""
    after, before, labels = predictions.answers[mine], predictions.answers[its], predictions.labels
    labelled = bool((labels >= 0).any())
    flipped = before != after
    lost = flipped & (before == labels) if labelled else flipped
    won = flipped & (after == labels) if labelled else np.zeros_like(flipped)
    sure = predictions.confidences[its]
    worst = sorted(np.flatnonzero(lost).tolist(), key=lambda i: (-float(sure[i]), i))[:MOST_IMAGES]
    name = predictions.class_name
    pairs = Counter(zip(before[flipped].tolist(), after[flipped].tolist(), strict=True)).most_common(MOST_PAIRS)
    return Changed(
        row=row,
        samples=len(labels),
        lost=int(lost.sum()),
        won=int(won.sum()),
        wrong=int((flipped & ~lost & ~won).sum()),
        images=tuple(
            Flip(
                predictions.names[i],
                name(int(labels[i])) if labels[i] >= 0 else "",
                name(int(before[i])),
                float(sure[i]),
                name(int(after[i])),
                float(predictions.confidences[mine][i]),
            )
            for i in worst
        ),
        pairs=tuple((name(a), name(b), count) for (a, b), count in pairs),
        classes=_by_class(predictions, before == labels, after == labels) if labelled else (),
        labelled=labelled,
    )


def _by_class(predictions: Predictions, before: np.ndarray, after: np.ndarray) -> tuple[ClassChange, ...]:
    """The classes whose share of right answers changed most, the losers first."""
    labels = predictions.labels
    size = int(labels.max()) + 1
    known = labels >= 0
    samples, right, still = (np.bincount(labels[known & mask], minlength=size) for mask in (known, before, after))
    change = np.where(samples > 0, (still - right) / np.maximum(samples, 1), 0.0)
    worst = [c for c in np.argsort(change, kind="stable").tolist() if still[c] != right[c]]
    kept = worst if len(worst) <= MOST_CLASSES else worst[: MOST_CLASSES // 2] + worst[-MOST_CLASSES // 2 :]
    return tuple(ClassChange(predictions.class_name(c), int(samples[c]), int(right[c]), int(still[c])) for c in kept)
