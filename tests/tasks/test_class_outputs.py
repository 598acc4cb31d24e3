"""Answers are only compared where an output certainly holds them, or where the user says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from quantkit.core.errors import BadConfig
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile, open_model
from quantkit.tasks import Decision
from quantkit.tasks.choice import classification_for
from quantkit.tasks.class_outputs import said_decision
from quantkit.tasks.classification import Classification
from tests.graphs.shapes import FLOAT, constant, model, node, weight

HIDDEN = [node("Gemm", ["x", "w"], ["h"], transB=1), node("Relu", ["h"], ["r"])]
CLASSES = 5


def head(classes: int, *more: onnx.NodeProto, **outputs: list[Any]) -> onnx.ModelProto:
    """x (N, 16), a hidden layer, g = scores of a second layer, and more nodes behind them."""
    return model(
        [*HIDDEN, node("Gemm", ["r", "v", "b"], ["g"], transB=1), *more],
        [("x", FLOAT, ["N", 16]), ("mask", FLOAT, ["N", CLASSES])],
        [(name, FLOAT, shape) for name, shape in outputs.items()],
        [weight("w", 8, 16), weight("v", classes, 8), weight("b", classes), constant("low", 0.0)],
    )


def renamed(kind: str, source: str, to: str, **arguments: Any) -> onnx.NodeProto:
    return node(kind, [source], [to], **arguments)


CASES: dict[str, tuple[onnx.ModelProto, Decision | None]] = {
    "logits": (head(CLASSES, g=["N", 5]), Decision("g")),
    "softmax": (head(CLASSES, renamed("Softmax", "g", "y"), y=["N", 5]), Decision("y")),
    "softmax beside a feature": (
        head(CLASSES, renamed("Softmax", "g", "y"), r=["N", 8], y=["N", 5]),
        Decision("y"),
    ),
    "logits by name beside others": (
        head(CLASSES, renamed("Identity", "g", "logits"), h=["N", 8], logits=["N", 5]),
        Decision("logits"),
    ),
    "one score behind a sigmoid": (head(1, renamed("Sigmoid", "g", "y"), y=["N", 1]), Decision("y", threshold=0.5)),
    "one score, and a state": (
        head(1, renamed("Sigmoid", "g", "y"), r=["N", 8], y=["N", 1]),
        Decision("y", threshold=0.5),
    ),
    "a mask that is passed through": (
        head(CLASSES, renamed("Identity", "mask", "kept"), kept=["N", CLASSES]),
        None,
    ),
    "a mask beside logits": (
        head(CLASSES, renamed("Identity", "mask", "kept"), kept=["N", CLASSES], g=["N", 5]),
        Decision("g"),
    ),
    "an embedding by name": (head(CLASSES, renamed("Identity", "g", "embedding"), embedding=["N", 5]), None),
    "a hidden state by name": (
        head(CLASSES, renamed("Identity", "g", "last_hidden_state"), last_hidden_state=["N", 5]),
        None,
    ),
    "boxes by name": (head(4, renamed("Identity", "g", "boxes"), boxes=["N", 4]), None),
    "tanh": (head(CLASSES, renamed("Tanh", "g", "y"), y=["N", 5]), None),
    "normalized": (head(CLASSES, renamed("LpNormalization", "g", "y", axis=1), y=["N", 5]), None),
    "several sigmoids": (head(CLASSES, renamed("Sigmoid", "g", "y"), y=["N", 5]), None),
    "two of a kind": (head(CLASSES, renamed("Sin", "g", "z"), g=["N", 5], z=["N", 5]), None),
    "one number without a sigmoid": (head(1, g=["N", 1]), None),
}  # fmt: skip


def opened(proto: onnx.ModelProto, folder: Path) -> ModelFile:
    onnx.save(proto, folder / "m.onnx")
    return open_model(folder / "m.onnx")


@pytest.mark.parametrize("case", CASES)
def test_what_is_certain(tmp_path: Path, case: str) -> None:
    proto, expected = CASES[case]
    found = opened(proto, tmp_path)
    task = classification_for("auto", found.outputs, Graph(found.graph_only.graph))
    assert (task.decision if isinstance(task, Classification) else None) == expected


@pytest.mark.parametrize("case", ["tanh", "an embedding by name", "several sigmoids"])
def test_labels_tell_that_the_only_vector_holds_scores(tmp_path: Path, case: str) -> None:
    found = opened(CASES[case][0], tmp_path)
    task = classification_for("auto", found.outputs, Graph(found.graph_only.graph), labelled=True)
    assert isinstance(task, Classification)


@pytest.mark.parametrize(
    ("shape", "outputs"),
    [(["N", 12, 7], "time steps"), (["N", 84, 100], "boxes and scores"), (["N", 2, 8, 8], "a picture")],
)
def test_outputs_with_several_answers_are_not_guessed(tmp_path: Path, shape: list[Any], outputs: str) -> None:
    found = opened(model([node("Relu", ["x"], ["y"])], [("x", FLOAT, shape)], [("y", FLOAT, shape)]), tmp_path)
    assert classification_for("auto", found.outputs, Graph(found.graph_only.graph)).name == "none", outputs
    with pytest.raises(BadConfig, match="which axis holds classes"):
        classification_for("classification", found.outputs)
    task = classification_for("auto", found.outputs, said=said_decision(found.outputs, None, 1, None))
    assert isinstance(task, Classification)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (("nosuch", None, None), "no output"),
        ((None, 0, None), "no axis 0"),
        ((None, 3, None), "no axis 3"),
        ((None, 1, 0.5), "Both an axis and a threshold"),
    ],
)
def test_what_the_user_says_has_to_fit(tmp_path: Path, said: tuple[Any, Any, Any], message: str) -> None:
    found = opened(
        model([node("Relu", ["x"], ["y"])], [("x", FLOAT, ["N", 4, 5])], [("y", FLOAT, ["N", 4, 5])]), tmp_path
    )
    with pytest.raises(BadConfig, match=message):
        said_decision(found.outputs, *said)


def agreement(decision: Decision, own: Any, reference: Any) -> float:
    task = Classification(decision)
    scorer = task.scorer()
    for one, other in zip(own, reference, strict=True):
        answers, expected = (task.decode({"y": values[None]}) for values in (one, other))
        assert answers is not None
        assert expected is not None
        scorer.update(answers, expected, None)
    found = scorer.result().agreement
    assert found is not None
    return found.value


def test_time_steps_are_judged_along_their_own_axis() -> None:
    rng = np.random.default_rng(1)
    reference = rng.standard_normal((30, 12, 7)).astype(np.float32)
    own = reference + 0.4 * rng.standard_normal(reference.shape).astype(np.float32)
    expected = (own.argmax(2) == reference.argmax(2)).mean()
    assert agreement(Decision("y", axis=1), own, reference) == pytest.approx(expected)
    turned = np.moveaxis(own, 2, 1), np.moveaxis(reference, 2, 1)
    assert agreement(Decision("y", axis=0), *turned) == pytest.approx(expected)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_yes_and_no_are_told_apart_by_the_threshold(threshold: float) -> None:
    rng = np.random.default_rng(2)
    reference = rng.random((200, 1)).astype(np.float32)
    own = (reference + 0.1 * rng.standard_normal((200, 1))).astype(np.float32)
    expected = ((own > threshold) == (reference > threshold)).mean()
    assert agreement(Decision("y", threshold=threshold), own, reference) == pytest.approx(expected)
    several = own.reshape(50, 4), reference.reshape(50, 4)
    assert agreement(Decision("y", threshold=threshold), *several) == pytest.approx(expected)


def test_yes_and_no_have_labels_and_confidences() -> None:
    task = Classification(Decision("y", threshold=0.5))
    answers = task.decode({"y": np.array([[0.9], [0.2], [0.5], [np.nan]], np.float32)})
    assert answers is not None
    assert answers.best.tolist() == [1, 0, 0, -1]
    np.testing.assert_allclose(answers.confidence, [0.9, 0.8, 0.5, 0], rtol=1e-6)
    scorer = task.scorer()
    scorer.update(answers, answers, [1, 1, 0, 0])
    assert scorer.result().metrics["top1"].value == 0.5


def test_numbers_of_answers_that_differ_do_not_agree() -> None:
    one, other = np.zeros((1, 3, 4), np.float32), np.zeros((1, 5, 4), np.float32)
    assert agreement(Decision("y", axis=1), one, other) == 0
