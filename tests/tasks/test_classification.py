"""Classification: what counts as scores, as right, as agreement."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from quantkit.core.errors import BadData
from quantkit.graph.model_io import ModelInput
from quantkit.tasks import Result
from quantkit.tasks.choice import classification_for
from quantkit.tasks.classification import Classification, best_of, class_scores, labels_of

TASK = Classification()


def scored(
    scores: npt.NDArray[Any], reference: npt.NDArray[Any], labels: list[int | None] | None, parts: int = 1
) -> Result:
    """What a scorer makes of these scores, fed in so many parts."""
    scorer = TASK.scorer()
    for part in np.array_split(np.arange(len(scores)), parts):
        own, its = TASK.decode({"y": scores[part]}), TASK.decode({"y": reference[part]})
        scorer.update(own, its, None if labels is None else [labels[i] for i in part])
    return scorer.result()


def test_top1_and_top5_count_what_sorting_counts() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 20, (200, 12)).astype(np.float32), rng.integers(0, 12, 200).tolist()
    metrics = scored(scores, scores, labels, parts=7).metrics
    order = np.argsort(-scores, axis=1, kind="stable")
    assert metrics["top1"].value == np.mean(order[:, 0] == labels) == np.mean(scores.argmax(1) == labels)
    assert metrics["top5"].value == np.mean([label in row[:5] for row, label in zip(order, labels, strict=True)])


def test_unlabelled_samples_are_not_counted() -> None:
    scores = np.eye(3, dtype=np.float32)
    assert scored(scores, scores, [0, None, 0]).metrics["top1"].value == 0.5
    assert scored(scores, scores, None).metrics == {}


def test_scores_that_are_not_numbers_are_no_hits_and_agree_with_nothing() -> None:
    broken = np.full((4, 3), np.nan, np.float32)
    found = scored(broken, np.zeros((4, 3), np.float32), [0] * 4)
    assert found.metrics["top1"].value == 0
    assert found.agreement is not None
    assert found.agreement.value == 0
    again = scored(broken, broken, None).agreement
    assert again is not None
    assert again.value == 0


def test_lost_and_won_are_counted_over_batches() -> None:
    labels: list[int | None] = [0] * 6
    right, wrong = [1.0, 0.0], [0.0, 1.0]
    reference = np.array([right, right, right, wrong, wrong, right])
    own = np.array([right, wrong, wrong, right, wrong, right])
    change = scored(own, reference, labels, parts=2).changes["top1"]
    assert (change.lost, change.won) == (2, 1)
    assert change.low <= 1 / 6 <= change.high


def test_agreement_is_the_share_of_equal_classes() -> None:
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((40, 6)).astype(np.float32)
    noisy = reference + rng.standard_normal((40, 6)).astype(np.float32) * 0.5
    found = scored(noisy, reference, None, parts=3).agreement
    assert found is not None
    assert found.value == np.mean(reference.argmax(1) == noisy.argmax(1))
    assert found.low is not None
    assert found.low < found.value


def test_what_counts_as_class_scores() -> None:
    assert class_scores(np.zeros((2, 5))).shape == (2, 5)  # type: ignore[union-attr]
    assert class_scores(np.zeros((2, 5, 1, 1))).shape == (2, 5)  # type: ignore[union-attr]
    assert class_scores(np.zeros((2, 1))) is None
    assert class_scores(np.zeros((2, 5, 4))) is None


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        (("N", 10), "classification"),
        (("N", "classes"), "classification"),
        (("N", 10, 1, 1), "classification"),
        ((10,), "classification"),
        (("N",), "none"),
        (("N", 1), "none"),
        ((1, 84, 8400), "none"),
        (("N", "anchors", 85), "none"),
    ],
)
def test_the_task_is_told_from_the_first_outputs_shape(shape: tuple[int | str, ...], name: str) -> None:
    assert classification_for("auto", [ModelInput("y", shape, "float32")]).name == name


@pytest.mark.parametrize("annotation", [0.5, "cat", [1]])
def test_labels_that_are_no_class_index_are_refused(annotation: object) -> None:
    with pytest.raises(BadData, match="class index"):
        labels_of([0, annotation])


def test_confidence_is_softmaxs_share_and_shares_stay() -> None:
    scores = np.array([[0.0, np.log(3.0)], [1000.0, 0.0], [np.nan, 1.0]], np.float32)
    best, confidence = best_of(scores[:2])
    assert best.tolist() == [1, 0]
    np.testing.assert_allclose(confidence, [0.75, 1.0], rtol=1e-6)
    assert best_of(scores)[1][2] == 0
    np.testing.assert_allclose(best_of(np.array([[0.2, 0.8]]))[1], [0.8])
