"""Engines of a detector that ends in TensorRT's own plugin for NMS, which onnxruntime does not have."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import onnx
import pytest

import quantkit as qk
from quantkit.core.calibration import Calibration
from quantkit.runtime.reference import ReferenceSession
from quantkit.targets.tensorrt import TensorRT
from tests.gpu.conftest import built
from tests.graphs.plugins import detector, images


def cublas_is_here() -> bool:
    """TensorRT 8.6 hands every plugin a handle of cuBLAS, and does not need it for anything else."""
    try:
        return hasattr(ctypes.CDLL("libcublas.so.12"), "cublasGetProperty")
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not cublas_is_here(), reason="cuBLAS, which TensorRT's plugins are handed, is not here")


@pytest.fixture(scope="module", params=["TRT", ""], ids=["domain", "no-domain"])
def calibration(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    folder = tmp_path_factory.mktemp("plugins")
    onnx.save(detector(request.param), folder / "model.onnx")
    np.save(folder / "data.npy", images(128))
    return qk.calibrate(folder / "model.onnx", folder / "data.npy", output=folder / "run")


def own_library() -> Path:
    """TensorRT's plugins, as a library that is given."""
    import tensorrt

    return next(Path(tensorrt.__file__).parent.rglob("libnvinfer_plugin.so*"))


@pytest.mark.parametrize(("precision", "far"), [("fp32", 0.001), ("fp16", 0.01), ("int8", 0.1)])
def test_a_plugin_behind_the_layers(calibration: Calibration, precision: str, far: float) -> None:
    (engine,) = built(calibration, [precision])
    session = TensorRT().load(engine.artifact, "cuda:0")
    front = ReferenceSession(Path(calibration.model.path))
    for x in images(8):
        found = session.infer({"x": x[None]})
        best = front.infer({"x": x[None]})["chances"].max()
        assert found["count"][0, 0] > 0
        assert found["scores"][0, 0] == pytest.approx(best, abs=far)
    assert ("int8" in session.executed_precision) == (precision == "int8")


def test_a_library_of_plugins(calibration: Calibration) -> None:
    (engine,) = built(calibration, ["fp32"], plugins=[str(own_library())])
    session = TensorRT().load(engine.artifact, "cuda:0")
    assert session.infer({"x": images(1)})["count"][0, 0] > 0


def test_what_its_rows_are_compared_with(calibration: Calibration, tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", images(64))
    assert calibration.folder is not None
    comparison = qk.compare(calibration.folder, tmp_path / "data.npy", targets=["tensorrt"], precisions=["fp16"])
    (row,) = [row for row in comparison.rows if row.precision == "fp16"]
    assert row.sqnr_db is not None
    assert row.sqnr_db > 20
    assert {error.name for error in row.outputs} == {"count", "boxes", "scores", "classes"}
    assert any("all is compared with FP32 of tensorrt" in warning for warning in comparison.warnings)
