"""What a search looks at, what it takes for measured already, and which of two results it goes on from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import quantkit as qk
from quantkit.config import Config
from quantkit.core.comparison import Interval
from quantkit.core.errors import BadConfig, BadData
from quantkit.core.recipe import Recipe
from quantkit.core.tuning import Goal, Measured
from quantkit.datasets import OpenedData, open_dataset
from quantkit.datasets.texts import Half
from quantkit.graph.model_file import open_model
from quantkit.pipeline.tuning.bench import CAREFULLY, Bench
from quantkit.pipeline.tuning.goals import Judge, goal_of
from quantkit.pipeline.tuning.stage import TuneRequest, divided, search
from quantkit.targets import Session
from tests.conftest import tiny_model

RNG = np.random.default_rng(0)
PIXELS, OTHERS = (RNG.standard_normal((64, 3, 16, 16)).astype(np.float32) for _ in range(2))


@pytest.fixture
def calibration(tmp_path: Path) -> qk.Calibration:
    onnx.save(tiny_model(), tmp_path / "m.onnx")
    return qk.calibrate(tmp_path / "m.onnx", PIXELS)


def found(calibration: qk.Calibration, data: Any, folder: Path, goal: Goal) -> Measured:
    folder.mkdir(exist_ok=True)
    request = TuneRequest(goal, "tensorrt", 60.0, data)
    return search(Config(), Recipe.of(calibration), request, folder).tuning.steps[0].figures


def test_figures_of_other_samples_are_not_taken_for_measured(calibration: qk.Calibration, tmp_path: Path) -> None:
    goal = Goal(kind="sqnr", bound=1.0)
    first = found(calibration, PIXELS, tmp_path / "kept", goal)
    assert found(calibration, PIXELS, tmp_path / "kept", goal) == first
    other = found(calibration, OTHERS, tmp_path / "kept", goal)
    assert other == found(calibration, OTHERS, tmp_path / "fresh", goal)
    assert other != first


def test_both_halves_have_all_classes_however_the_samples_are_sorted(tmp_path: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "m.onnx")
    model = open_model(tmp_path / "m.onnx")
    np.savez(tmp_path / "sorted.npz", **{model.inputs[0].name: PIXELS[:60]}, labels=np.repeat([0, 1, 2], 20))
    opened = open_dataset(tmp_path / "sorted.npz", model.inputs, Config().preprocess)
    labels = np.array(opened.dataset.annotations)
    tuned_on, held_out = divided(opened, seed=0)
    assert sorted(tuned_on + held_out) == list(range(60))
    for half in (tuned_on, held_out):
        assert np.bincount(labels[half]).tolist() == [10, 10, 10]
    assert divided(opened, seed=0) == (tuned_on, held_out)
    assert divided(opened, seed=1) != (tuned_on, held_out)


def test_figures_by_other_labels_are_not_taken_for_measured(tmp_path: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "m.onnx")
    own, goal = qk.calibrate(tmp_path / "m.onnx", PIXELS), Goal(kind="drop", bound=0.0)
    drops = []
    for labels in (np.zeros(64, int), np.arange(64) % 3):
        pairs = list(zip(PIXELS, labels.tolist(), strict=True))
        drops.append(found(own, pairs, tmp_path / "kept", goal).metric)
    assert drops[0] != drops[1]


def test_the_texts_of_a_pair_stay_in_one_half() -> None:
    halves = [Half(number // 2, 0.5) for number in range(200)]
    opened = SimpleNamespace(dataset=SimpleNamespace(annotations=halves), indices=np.arange(200), location="texts")
    for half in divided(cast("OpenedData", opened), seed=0):
        assert len(half) == 100
        assert all(
            halves[first].pair == halves[second].pair for first, second in zip(half[::2], half[1::2], strict=True)
        )


def test_too_few_samples_are_not_divided(calibration: qk.Calibration, tmp_path: Path) -> None:
    with pytest.raises(BadData, match="too few"):
        found(calibration, PIXELS[:49], tmp_path / "kept", Goal(kind="sqnr", bound=1.0))


def test_a_step_that_only_a_short_measurement_allows_is_not_taken(
    calibration: qk.Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured briefly nothing is slower; measured carefully, all but the default is."""
    asked: list[int] = []

    def timed(bench: Bench, session: Session, times: int = 1) -> dict[str, float | Interval]:
        asked.append(times)
        slower = 0.5 if times == CAREFULLY else 0.0
        return {"latency_ms": 1.0 + slower, "slowdown": Interval(value=slower, low=slower, high=slower)}

    monkeypatch.setattr(Bench, "_timed", timed)
    (tmp_path / "kept").mkdir()
    request = TuneRequest(Goal(kind="sqnr", bound=250.0, slowdown=0.1), "onnxruntime", 20.0, PIXELS)
    tuning = search(Config(), Recipe.of(calibration), request, tmp_path / "kept").tuning
    assert asked.count(CAREFULLY) > 0
    assert [step.stage for step in tuning.steps if step.accepted] == ["default"]


figures = st.builds(
    Measured,
    sqnr_db=st.floats(-10, 90),
    agreement=st.floats(0, 1),
    metric=st.floats(0.1, 1),
    drop=st.floats(-0.5, 0.9),
    latency_ms=st.floats(0.1, 10),
    slowdown=st.builds(Interval, value=st.floats(-0.5, 0.5)),
)
goals = st.builds(
    Goal,
    kind=st.sampled_from(["drop", "sqnr", "agreement", "within", "speed"]),
    bound=st.floats(0, 1),
    slowdown=st.none() | st.floats(0, 0.3),
)


@given(goals, figures, figures, figures)
def test_what_is_better_is_never_farther_from_the_goal_nor_too_slow(
    goal: Goal, half: Measured, own: Measured, other: Measured
) -> None:
    judge = Judge(goal, half)
    if judge.is_better(own, other):
        assert not judge.is_better(other, own)
        assert max(judge.shortfall(own), 0) <= max(judge.shortfall(other), 0) + 1e-9
        assert goal.slowdown is None or (own.slowdown is not None and own.slowdown.value <= goal.slowdown)
    assert not judge.is_better(own, own)


@pytest.mark.parametrize(
    ("given", "goal"),
    [
        ({"max_drop": 0.5}, Goal(kind="drop", bound=0.005)),
        ({"min_sqnr": 30}, Goal(kind="sqnr", bound=30)),
        ({"min_agreement": 99, "max_slowdown": 5}, Goal(kind="agreement", bound=0.99, slowdown=0.05)),
        ({"within": "2%-of-fp16"}, Goal(kind="within", bound=0.02)),
        ({"max_slowdown": 10}, Goal(kind="speed", slowdown=0.1)),
        ({}, None),
    ],
)
def test_what_users_give_is_a_goal(given: dict, goal: Goal | None) -> None:  # type: ignore[type-arg]
    assert goal_of(**given) == goal


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_drop": 1, "min_sqnr": 30}, "two goals"),
        ({"max_drop": -1}, "makes no sense"),
        ({"min_agreement": 101}, "makes no sense"),
        ({"max_slowdown": float("nan")}, "makes no sense"),
        ({"within": "a bit"}, "not understood"),
    ],
)
def test_what_is_no_goal_is_refused(given: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(BadConfig, match=message):
        goal_of(**given)
