"""``layer_errors`` of a comparison, from real artifacts."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import quantkit as qk
from quantkit.core.artifact import Artifact
from quantkit.core.comparison import Comparison, Row
from quantkit.core.errors import TargetRefuses
from quantkit.core.recipe import Recipe
from quantkit.datasets import open_dataset
from quantkit.graph.model_file import open_model
from quantkit.pipeline.comparison import layer_errors
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.pipeline.run_files import load_comparison
from quantkit.targets import LayerOutputs
from quantkit.targets.onnxruntime.target import OnnxRuntime
from quantkit.targets.openvino import OpenVinoSettings
from quantkit.targets.tensorrt import TensorRT
from tests.conftest import tiny_model

LAYERS = ["input", "relu1", "conv2", "relu2", "pool", "logits"]


def figures(row: Row) -> dict[str, float | None]:
    return {error.tensor: error.sqnr_db for error in row.layer_errors}


def compared(calibration: Any, images: Path, **options: Any) -> Comparison:
    chosen = {"targets": ["onnxruntime"], "precisions": ["int8"], **options}
    comparison: Comparison = qk.compare(calibration, images, **chosen)
    return comparison


def test_int8_rows_of_the_first_batch_have_every_layer(model_path: Path, images: Path, tmp_path: Path) -> None:
    calibration = qk.calibrate(model_path, images, output=tmp_path / "run")
    comparison = compared(calibration, images, precisions=["fp16", "int8"], batch_sizes=[1, 4])
    for row in comparison.rows:
        expected = LAYERS if (row.precision, row.batch) == ("int8", 1) else []
        assert [error.tensor for error in row.layer_errors] == expected
    row = next(row for row in comparison.rows if row.layer_errors)
    found = figures(row)
    # All 18 images are looked at, so that the last layer's figure is that of the model's output.
    assert row.sqnr_db is not None
    assert found["logits"] == pytest.approx(row.sqnr_db, abs=1.0)
    assert all(value is not None and 25 < value < 80 for value in found.values())
    assert comparison.warnings == tuple(w for w in comparison.warnings if "layers" not in w)
    assert load_comparison(tmp_path / "run").rows == comparison.rows


@pytest.mark.openvino
def test_openvino_has_them_with_both_placements(model_path: Path, images: Path) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    calibration = qk.calibrate(model_path, images)
    both = OpenVinoSettings(placement=["qdq", "nncf"])
    comparison = compared(calibration, images, targets=["openvino"], openvino=both)
    for row in comparison.rows[1:]:
        found = figures(row)
        assert list(found) == LAYERS
        assert row.sqnr_db is not None
        assert found["logits"] == pytest.approx(row.sqnr_db, abs=1.5)
        assert all(value is None or 20 < value < 80 for value in found.values())
    assert figures(comparison.rows[1])["input"] is None  # so small an image stays in floating point


def test_what_stays_in_floating_point_has_no_error(model_path: Path, images: Path) -> None:
    calibration = qk.calibrate(model_path, images, exclude=["conv*", "bn1", "relu*", "add", "pool", "flat"])
    (_, row) = compared(calibration, images).rows
    assert all(value is None or value > 100 for value in figures(row).values())


def test_a_bad_range_shows_where_it_is(model_path: Path, images: Path) -> None:
    calibration = qk.calibrate(model_path, images)
    good = figures(compared(calibration, images).rows[1])
    spoilt = calibration.tensors["relu1"]
    tensors = dict(calibration.tensors)
    tensors["relu1"] = spoilt.model_copy(update={"amax": spoilt.amax / 8, "low": 0.0, "high": spoilt.high / 8})
    changed = calibration.model_copy(update={"tensors": tensors})
    bad = figures(compared(changed, images).rows[1])
    worse = [name for name in LAYERS if (bad[name] or 1e9) < (good[name] or 1e9) - 10]
    assert worse[0] == "relu1"
    for name in ("input",):
        assert bad[name] == pytest.approx(good[name], abs=0.5)
    for name in ("relu1", "conv2", "relu2"):
        before, after = good[name], bad[name]
        assert before is not None and after is not None and after < before - 10


def test_groups_and_batches_do_not_change_the_figures(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx.save(tiny_model(), tmp_path / "free.onnx")
    onnx.save(tiny_model(batch=6), tmp_path / "fixed.onnx")
    free = qk.calibrate(tmp_path / "free.onnx", images)
    at_once = figures(compared(free, images).rows[1])
    monkeypatch.setattr(layer_errors, "BYTES_AT_ONCE", 4 * 16 * 16 * 16)
    seen: list[int] = []
    opened = OnnxRuntime.layer_outputs

    def noted(self: OnnxRuntime, artifact: Artifact, tensors: Collection[str]) -> LayerOutputs:
        seen.append(len(tensors))
        return opened(self, artifact, tensors)

    monkeypatch.setattr(OnnxRuntime, "layer_outputs", noted)
    grouped = figures(compared(free, images).rows[1])
    assert sum(seen) == len(LAYERS)
    assert len(seen) > 3
    batched = figures(compared(qk.calibrate(tmp_path / "fixed.onnx", images), images).rows[1])
    for name in LAYERS:
        assert grouped[name] == pytest.approx(at_once[name], abs=0.1)
        assert batched[name] == pytest.approx(at_once[name], abs=1.0)


def test_only_so_many_samples_are_read(model_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    monkeypatch.setattr(layer_errors, "LAYER_SAMPLES", 5)
    monkeypatch.setattr(layer_errors, "energy", lambda values: read.append(len(values)) or 1.0)
    compared(qk.calibrate(model_path, images), images)
    assert len(read) == 5 * len(LAYERS)


@pytest.mark.parametrize("when", ["opened", "run"])
def test_a_runtime_that_refuses_is_a_warning(
    model_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    class Refusing:
        names = tuple(LAYERS)

        def infer(self, inputs: object) -> dict[str, np.ndarray]:
            raise TargetRefuses("It has no such output.", "")

    def refuse(self: OnnxRuntime, artifact: Artifact, tensors: Collection[str]) -> LayerOutputs:
        if when == "opened":
            raise TargetRefuses("It has no such output.", "")
        return Refusing()

    monkeypatch.setattr(OnnxRuntime, "layer_outputs", refuse)
    comparison = compared(qk.calibrate(model_path, images), images)
    assert [row.layer_errors for row in comparison.rows] == [(), ()]
    said = [warning for warning in comparison.warnings if "layers" in warning]
    assert said == ["The accuracy of layers is not measured for onnxruntime: It has no such output."]


def test_tensorrt_tells_by_its_qdq_file_without_a_gpu(model_path: Path, images: Path, tmp_path: Path) -> None:
    calibration = qk.calibrate(model_path, images)
    engine = Artifact("tensorrt", "int8", (tmp_path / "model.engine",))  # is not read
    recipe, artifacts = Recipe.of(calibration), tmp_path / "artifacts"
    candidate = Candidate(TensorRT(), engine, None, "cuda:0", "mse", recipe, artifacts)  # type: ignore[arg-type]
    model = open_model(model_path)
    dataset = open_dataset(images, model.inputs, calibration.preprocess).dataset
    samples = layer_errors.LayerSamples(dataset, range(len(dataset.names)), batch=1)
    errors, warnings = layer_errors.measure_layers([candidate], model, samples)
    assert warnings == []
    assert [error.tensor for error in errors[candidate.key]] == LAYERS
    assert all(error.sqnr_db is None or 20 < error.sqnr_db < 80 for error in errors[candidate.key])


@pytest.mark.openvino
def test_reading_openvinos_layers_changes_nothing_behind_a_sum(images: Path, tmp_path: Path) -> None:
    """A Conv and the sum behind it are one kernel, which rounds nothing between, unless its input is read out."""
    pytest.importorskip("openvino")
    from quantkit.targets.openvino import OpenVino

    onnx.save(tiny_model(size=40), tmp_path / "large.onnx")  # sums large enough for a pair on both inputs
    calibration = qk.calibrate(tmp_path / "large.onnx", images)
    target = OpenVino()
    (tmp_path / "ir").mkdir()
    artifact = target.export(open_model(tmp_path / "large.onnx"), Recipe.of(calibration), "int8", tmp_path / "ir")
    x = {"input": np.random.default_rng(0).standard_normal((1, 3, 40, 40)).astype(np.float32)}
    alone = target.load(artifact, "CPU").infer(x)["logits"]
    read = target.layer_outputs(artifact, LAYERS).infer(x)
    assert set(read) == set(LAYERS)
    np.testing.assert_allclose(read["logits"], alone, atol=1e-4)
    assert len(np.unique(read["conv2"])) > 1000
    assert len(np.unique(read["relu1"])) <= 256
