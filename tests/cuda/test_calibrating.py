"""``calibrate --device cuda:0``: the same ranges as on the CPU, but for the last places of what a GPU computes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import quantkit as qk
from quantkit.core.calibration import Calibration
from quantkit.core.errors import BackendMissing, BadInput
from quantkit.demo.write import write_demo
from tests.conftest import Quantkit
from tests.graphs.sequences import text_model
from tests.graphs.vision_transformer import transformer_model


def assert_close(one: Calibration, other: Calibration) -> None:
    """Ranges within 1 %, and as many values counted."""
    assert one.tensors.keys() == other.tensors.keys()
    for name, histogram in one.collected.histograms.items():
        assert histogram.total == other.collected.histograms[name].total, name
        assert histogram.maximum == pytest.approx(other.collected.histograms[name].maximum, rel=1e-3, abs=1e-4)
    found = np.array([[own.tensors[name].amax for name in one.tensors] for own in (one, other)])
    assert np.median(np.abs(found[0] / found[1] - 1)) < 0.002
    assert one.collected.moments.keys() == other.collected.moments.keys()
    for key, moments in one.collected.moments.items():
        assert moments.rows == pytest.approx(other.collected.moments[key].rows, rel=0.05)


def test_the_demo(tmp_path: Path, invoked: Quantkit) -> None:
    write_demo(tmp_path / "demo")
    model, data = tmp_path / "demo" / "model.onnx", tmp_path / "demo" / "imgs" / "calib"
    here, there = (
        qk.calibrate(model, data, device=device, output=tmp_path / device[:4]) for device in ("cpu", "cuda:0")
    )
    assert_close(here, there)
    manifest = json.loads((tmp_path / "cuda" / "manifest.json").read_text())
    assert manifest["device"] == "cuda:0"
    options = ("-o", tmp_path / "cuda", "--device", "cuda:0", "--method", "entropy", "--no-export")
    again = invoked("calibrate", model, "--data", data, *options)
    assert again.returncode == 0, again.stderr
    assert "no image is read" in again.stderr


def test_a_transformer(tmp_path: Path) -> None:
    onnx.save(transformer_model(), tmp_path / "vit.onnx")
    data = np.random.default_rng(0).normal(size=(40, 3, 16, 16)).astype(np.float32)
    assert_close(*(qk.calibrate(tmp_path / "vit.onnx", data, device=device) for device in ("cpu", "cuda:0")))


def test_samples_of_several_shapes(tmp_path: Path) -> None:
    onnx.save(text_model(), tmp_path / "text.onnx")
    names = [own.name for own in onnx.load(tmp_path / "text.onnx").graph.input]
    rng = np.random.default_rng(1)
    samples = [
        {name: np.ones(length, np.int64) if "mask" in name else rng.integers(0, 6, length) for name in names}
        for length in rng.integers(2, 9, 30)
    ]
    assert_close(*(qk.calibrate(tmp_path / "text.onnx", samples, device=device) for device in ("cpu", "cuda:0")))


def test_a_gpu_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_demo(tmp_path / "demo")
    model, data = tmp_path / "demo" / "model.onnx", tmp_path / "demo" / "imgs" / "calib"
    with pytest.raises(BackendMissing, match="cuda:77"):
        qk.calibrate(model, data, device="cuda:77")
    with pytest.raises(BadInput, match="device"):
        qk.calibrate(model, data, device="tpu")
