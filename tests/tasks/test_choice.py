"""Which task is chosen, and what of the user's settings it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from quantkit.core.errors import BadConfig
from quantkit.core.presets import PRESETS
from quantkit.datasets import open_dataset
from quantkit.datasets.base import Dataset
from quantkit.graph.model_file import ModelFile, open_model
from quantkit.tasks import TaskSettings
from quantkit.tasks.choice import choose_task
from tests.conftest import tiny_model


@pytest.fixture
def model(tmp_path: Path) -> ModelFile:
    proto = tiny_model()
    onnx.helper.set_model_props(proto, {"task": "detect", "names": "{0: 'a', 1: 'b', 2: 'c'}"})
    onnx.save(proto, tmp_path / "m.onnx")
    return open_model(tmp_path / "m.onnx")


@pytest.fixture
def dataset(model: ModelFile) -> Dataset:
    samples = np.random.default_rng(0).random((3, 3, 16, 16), np.float32)
    return open_dataset(samples, model.inputs, PRESETS["raw"]).dataset


def test_another_task_than_detection_is_what_is_named(model: ModelFile, dataset: Dataset) -> None:
    """Whatever the file says."""
    for name in ("none", "classification", "regression"):
        assert choose_task(name, TaskSettings(), model, dataset).name == name


def test_a_file_that_says_detection_without_a_head_is_no_detector(model: ModelFile, dataset: Dataset) -> None:
    assert choose_task("auto", TaskSettings(), model, dataset).name == "classification"


@pytest.mark.parametrize(
    ("name", "settings", "key"),
    [
        ("none", TaskSettings(head="yolov8"), "head"),
        ("classification", TaskSettings(head="yolov8"), "head"),
        ("none", TaskSettings(output="logits"), "output"),
        ("regression", TaskSettings(threshold=0.5), "threshold"),
        ("classification", TaskSettings(blank=0), "blank"),
    ],
)
def test_settings_of_another_task_are_refused(
    name: str, settings: TaskSettings, key: str, model: ModelFile, dataset: Dataset
) -> None:
    with pytest.raises(BadConfig, match=f"This task takes no {key}"):
        choose_task(name, settings, model, dataset)
