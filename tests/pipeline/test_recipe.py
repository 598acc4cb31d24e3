"""A stage between calibrate and export changes ranges, exclusions and weights; neither of the two knows of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import quantkit
from quantkit import Recipe, TensorRange
from quantkit.config import Config, parse_config
from quantkit.core.progress import silent
from quantkit.pipeline.comparison.evaluate import evaluate
from quantkit.pipeline.comparison.stage import FromPython, prepare
from tests.conftest import tiny_model


@pytest.fixture
def recipe(model_path: Path, images: Path) -> Recipe:
    return Recipe.of(quantkit.calibrate(model_path, images))


@pytest.fixture
def exported(tmp_path: Path) -> Callable[[Recipe, str], onnx.ModelProto]:
    def run(recipe: Recipe, precision: str = "int8") -> onnx.ModelProto:
        (artifact,) = quantkit.export(recipe, "onnxruntime", precisions=[precision], output=tmp_path / "out")
        return onnx.load(str(artifact.path))

    return run


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
Exported = Callable[..., onnx.ModelProto]


def test_ranges(recipe: Recipe, exported: Exported) -> None:
    before = constants(exported(recipe))["input_scale"]
    own = recipe.ranges["input"]
    wider = replace(recipe, ranges={**recipe.ranges, "input": TensorRange(2 * own.amax, 2 * own.low, 2 * own.high)})
    assert constants(exported(wider))["input_scale"] == pytest.approx(2 * before)
    assert recipe.calibration.ranges["input"] == own


def test_exclusions(recipe: Recipe, exported: Exported) -> None:
    def quantized(model: onnx.ModelProto) -> set[str]:
        return {name.removesuffix("_quantized") for name in constants(model) if name.endswith("_quantized")}

    assert "w2" in quantized(exported(recipe))
    without = replace(recipe, exclude=("conv2",))
    assert "conv2" not in without.quantized_ranges
    assert "w2" not in quantized(exported(without))
    assert "w2" in quantized(exported(recipe))  # and back again


def test_weights(recipe: Recipe, exported: Exported) -> None:
    own = constants(tiny_model())["w2"]
    doubled = replace(recipe, weights={"w2": own * np.float32(2)})
    before, after = constants(exported(recipe)), constants(exported(doubled))
    assert after["w2_scale"] == pytest.approx(2 * before["w2_scale"], rel=1e-3)
    assert np.array_equal(constants(exported(doubled, "fp32"))["w2"], own)  # FP32 stays the user's own


def test_switching_an_exclusion_off_again_loses_nothing(recipe: Recipe) -> None:
    there_and_back = replace(replace(recipe, exclude=("conv*",)), exclude=())
    assert there_and_back.quantized_ranges == recipe.quantized_ranges
    assert there_and_back.digest(quantized=True) == recipe.digest(quantized=True)
    assert not there_and_back.changes


@pytest.mark.parametrize(
    "weights",
    [
        {"nosuch": np.zeros(3, np.float32)},
        {"w2": np.zeros(3, np.float32)},
        {"w2": np.zeros((16, 16, 3, 3), np.float64)},
        {"w2": np.full((16, 16, 3, 3), np.nan, np.float32)},
        {"w2": [1.0, 2.0]},
    ],
    ids=["unknown", "shape", "dtype", "NaN", "list"],
)
def test_weights_that_cannot_be_are_refused(recipe: Recipe, exported: Exported, weights: dict[str, Any]) -> None:
    with pytest.raises(quantkit.BadModel, match=next(iter(weights))):
        exported(replace(recipe, weights=weights))


def test_a_range_of_no_calibrated_tensor_is_refused(recipe: Recipe, exported: Exported) -> None:
    with pytest.raises(quantkit.BadConfig, match="'nosuch', which was not calibrated"):
        exported(replace(recipe, ranges={**recipe.ranges, "nosuch": TensorRange(1, -1, 1)}))


def test_the_same_bytes_of_another_type_are_other_weights(recipe: Recipe) -> None:
    weight = constants(tiny_model())["w2"]
    first, second = (replace(recipe, weights={"w2": values}) for values in (weight, weight.view(np.int32)))
    assert first.digest(quantized=True) != second.digest(quantized=True)


def test_what_is_measured_of_a_changed_recipe_does_not_stand_for_the_run(
    model_path: Path, images: Path, tmp_path: Path
) -> None:
    calibration = quantkit.calibrate(model_path, images, output=tmp_path / "run")
    changed = replace(Recipe.of(calibration), exclude=("fc",))
    comparison = quantkit.compare(changed, images, targets="onnxruntime", precisions="int8")
    assert comparison.folder is None
    assert any("exclude = ['fc']" in warning for warning in comparison.warnings)
    assert not (tmp_path / "run" / "comparison.json").exists()
    with pytest.raises(quantkit.BadConfig, match="not the run's calibration as it is"):
        quantkit.export(changed, "onnxruntime")
    assert quantkit.compare(calibration, images, targets="onnxruntime").folder == tmp_path / "run"


def test_every_target_takes_a_changed_recipe(recipe: Recipe, tmp_path: Path) -> None:
    own = constants(tiny_model())["w2"]
    changed = replace(recipe, exclude=("conv1",), weights={"w2": own[::-1].copy()})
    artifacts = quantkit.export(changed, output=tmp_path / "out")
    assert len(artifacts) == len({artifact.target for artifact in artifacts}) >= 2


def test_evaluation_alone_judges_recipes(recipe: Recipe, images: Path, tmp_path: Path) -> None:
    """What tuning does: prepare and evaluate many, and neither time them nor write rows."""
    config: Config = parse_config(
        {
            "data": {"evaluation": images},
            "preprocess": recipe.preprocess,
            "compare": {"targets": ["onnxruntime"], "precisions": ["int8"]},
        },
        "the test",
    )

    def sqnr(tried: Recipe) -> float:
        prepared = prepare(config, tried, tmp_path / "out", silent, FromPython())
        found = evaluate(prepared.candidates, prepared.stream(), prepared.task)
        (quantized,) = (one.key for one in prepared.candidates if not one.is_reference)
        value = found.sqnr_db[quantized]
        assert value is not None
        return value

    coarse = replace(
        recipe, ranges={n: TensorRange(30 * r.amax, 30 * r.low, 30 * r.high) for n, r in recipe.ranges.items()}
    )
    assert sqnr(recipe) > sqnr(coarse) + 6
    assert sqnr(replace(recipe, exclude=("*",))) > 90


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_files_for_another_cpu_are_written_anew(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """A run directory that moves between CPUs with and without VNNI: their weights have eight bits, or seven."""
    pytest.importorskip(target)

    def notes(saturates: bool) -> int:
        monkeypatch.setattr(f"quantkit.targets.{target}.target.saturates_u8s8", lambda: saturates)
        (artifact,) = quantkit.export(recipe, target, output=tmp_path / "out")
        return len(artifact.notes)

    assert [notes(saturates) for saturates in (True, False, True)] == [1, 0, 1]


@pytest.mark.skipif(not PAGE.is_file(), reason="the docs are not here")
def test_the_pages_example_runs(
    model_path: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_path.rename(tmp_path / "model.onnx")
    assert images == tmp_path / "imgs"
    monkeypatch.chdir(tmp_path)
    code = next(block for block in PAGE.read_text(encoding="utf-8").split("```python\n") if "Recipe.of" in block)
    exec(compile(code.split("```")[0], str(PAGE), "exec"), {})
    assert (tmp_path / "out" / "onnxruntime" / "int8" / "model.onnx").is_file()
