"""What a sensitivity says of each layer, what it is measured on, and what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import quantkit
from quantkit.config import Config
from quantkit.core.errors import BadData, BadRun, TargetRefuses
from quantkit.core.ranges import TensorRange
from quantkit.core.recipe import Recipe
from quantkit.core.sensitivity import SENSITIVITY_FILE
from quantkit.pipeline.run_files import load_sensitivity
from quantkit.pipeline.sensitivity.stage import sensitivity, simulated_target
from quantkit.targets import TARGETS, Target
from tests.graphs.small import calibrated
from tests.pipeline.simulation.builders import MODELS, feeds


def test_a_layer_with_a_ruined_range_is_named_first(model_path: Path, images: Path) -> None:
    """conv2 reads relu1, whose range is cut to a twentieth: nothing else is wrong with this model."""
    calibration = quantkit.calibrate(model_path, images)
    own = calibration.ranges["relu1"]
    recipe = Recipe.of(calibration)
    cut = TensorRange(own.amax / 20, own.low / 20, own.high / 20)
    ruined = replace(recipe, ranges={**recipe.ranges, "relu1": cut})
    found = quantkit.sensitivity(ruined, target="tensorrt")
    fine = quantkit.sensitivity(calibration, target="tensorrt")
    assert found.layers[0].name in ("conv2", "add")  # the two that read it
    assert found.layers[0].only.sqnr_db < found.layers[2].only.sqnr_db - 10
    assert found.layers[0].gain_db > 0
    assert found.int8.sqnr_db < fine.int8.sqnr_db
    assert found.int8.kl > fine.int8.kl > 0
    levels = [layer.only.sqnr_db for layer in found.layers]
    assert levels == sorted(levels)
    assert sorted(layer.place for layer in found.layers) == list(range(1, len(levels) + 1))


def test_labels_give_the_drop_of_the_tasks_metrics(model_path: Path, images: Path, tmp_path: Path) -> None:
    calibration = quantkit.calibrate(model_path, images)
    found = quantkit.sensitivity(calibration, target="onnxruntime")
    assert found.samples == found.labelled == 18
    assert found.task == "classification"
    assert found.int8.drop.keys() == found.floating.keys() == {"top1"}
    for layer in found.layers:
        assert layer.only.drop["top1"] == pytest.approx(found.floating["top1"] - layer.only.metrics["top1"])
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in images.glob("*/*.png"):
        shutil.copy(path, flat / f"{path.parent.name}{path.name}")
    unlabelled = quantkit.sensitivity(calibration, flat, target="onnxruntime")
    assert unlabelled.labelled == 0
    assert unlabelled.int8.drop == {}
    assert unlabelled.int8.agreement is not None
    assert "have no labels: layers are judged by SQNR and agreement" in " ".join(unlabelled.warnings)


def test_the_samples_are_a_seeded_choice(model_path: Path, images: Path) -> None:
    calibration = quantkit.calibrate(model_path, images)
    first, again = (quantkit.sensitivity(calibration, target="onnxruntime", samples=6) for _ in range(2))
    assert first.samples == 6
    changing = {"seconds", "environment"}
    assert first.model_dump(exclude=changing) == again.model_dump(exclude=changing)
    whole = quantkit.sensitivity(calibration, target="onnxruntime")
    assert first.data_sha256 != whole.data_sha256


def test_a_task_without_scores_has_neither_kl_nor_drop(tmp_path: Path) -> None:
    model = MODELS["mobile"]()
    calibration = calibrated(model, feeds(model), tmp_path)
    found = quantkit.sensitivity(calibration, target="onnxruntime")
    assert found.task == "none"
    assert found.int8.kl is None
    assert found.int8.drop == {}
    assert found.int8.metrics["cosine"] > 0.9


def test_parts_of_an_output_count(tmp_path: Path) -> None:
    """A Concat joins a and b to j: the worst of the outputs and their parts is what a layer loses."""
    model = MODELS["ends"]()
    calibration = calibrated(model, feeds(model), tmp_path)
    found = quantkit.sensitivity(calibration, target="onnxruntime")
    parts = {error.name: error.sqnr_db for error in found.int8.outputs}
    assert {"a", "j", "j, part a", "j, part b"} <= parts.keys()
    assert found.int8.sqnr_db == min(value for value in parts.values() if value is not None)


def test_a_run_keeps_it_until_it_is_calibrated_otherwise(model_path: Path, images: Path, tmp_path: Path) -> None:
    calibration = quantkit.calibrate(model_path, images, output=tmp_path / "run")
    found = quantkit.sensitivity(calibration, target="onnxruntime")
    assert load_sensitivity(tmp_path / "run", Recipe.of(calibration)) == found
    other = quantkit.calibrate(model_path, images, output=tmp_path / "run", method="minmax")
    assert load_sensitivity(tmp_path / "run", Recipe.of(other)) is None
    assert load_sensitivity(tmp_path / "run") == found
    (tmp_path / "run" / SENSITIVITY_FILE).write_text('{"schema_version": 1}')
    with pytest.raises(BadRun, match="quantkit sensitivity"):
        load_sensitivity(tmp_path / "run")


def test_data_that_is_gone_has_to_be_given(model_path: Path, images: Path, tmp_path: Path) -> None:
    calibration = quantkit.calibrate(model_path, images)
    moved = images.rename(tmp_path / "moved")
    with pytest.raises(BadData, match=r"The calibration's data .*imgs.* is not there") as refused:
        quantkit.sensitivity(calibration, target="onnxruntime")
    assert "--data" in refused.value.hint
    assert quantkit.sensitivity(calibration, moved, target="onnxruntime").samples == 18


def test_samples_of_a_program_have_to_be_given_again(model_path: Path) -> None:
    samples = np.random.default_rng(2).normal(0, 1, (8, 3, 16, 16)).astype(np.float32)
    calibration = quantkit.calibrate(model_path, samples)
    with pytest.raises(BadData, match="is not there"):
        quantkit.sensitivity(calibration, target="onnxruntime")
    assert quantkit.sensitivity(calibration, samples, target="onnxruntime").samples == 8


def test_a_target_without_a_qdq_model_is_refused(
    model_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Opaque(TARGETS["onnxruntime"]):  # type: ignore[misc]
        name = "opaque"
        quantized = Target.quantized
        floating = Target.floating

    monkeypatch.setitem(TARGETS, "opaque", Opaque)
    calibration = quantkit.calibrate(model_path, images)
    with pytest.raises(TargetRefuses, match="opaque has no Q/DQ model to simulate"):
        quantkit.sensitivity(calibration, target="opaque")


def test_the_target_that_is_taken_if_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    named = Config().with_values("compare", targets=["tensorrt", "onnxruntime"])
    assert simulated_target(named, None).name == "tensorrt"
    monkeypatch.setattr(TARGETS["openvino"], "can_export", lambda self: True)
    assert simulated_target(Config(), None).name == "openvino"
    monkeypatch.setattr(TARGETS["openvino"], "can_export", lambda self: False)
    assert simulated_target(Config(), None).name == "onnxruntime"


def test_a_changed_recipe_is_measured_in_memory(model_path: Path, images: Path, tmp_path: Path) -> None:
    calibration = quantkit.calibrate(model_path, images, output=tmp_path / "run")
    found = sensitivity(Config(preprocess=calibration.preprocess), Recipe.of(calibration, ["fc"]), "onnxruntime")
    quantkit.sensitivity(Recipe.of(calibration, ["fc"]), target="onnxruntime")
    assert "fc" not in {layer.name for layer in found.layers}
    assert not (tmp_path / "run" / SENSITIVITY_FILE).exists()
