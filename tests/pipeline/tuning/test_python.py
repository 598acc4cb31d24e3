"""``quantkit.tune``: the search from Python, over paths and over samples of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import quantkit as qk
from quantkit.core.errors import BadConfig, BadData
from quantkit.pipeline.run_files import run_config
from tests.conftest import tiny_model, write_images

PIXELS = np.random.default_rng(0).standard_normal((64, 3, 16, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, brief_tuning: None) -> Path:
    path = tmp_path_factory.mktemp("python")
    onnx.save(tiny_model(), path / "m.onnx")
    write_images(path / "imgs", per_class=20)
    qk.calibrate(path / "m.onnx", path / "imgs", output=path / "run")
    return path


def test_the_result_is_a_run_of_its_own(folder: Path) -> None:
    own = qk.load_calibration(folder / "run")
    found = qk.tune(own, folder / "imgs", target="tensorrt", min_sqnr=55)
    assert isinstance(found, qk.Tuning)
    assert found.met
    assert (found.result.figures.sqnr_db or 0) >= 55
    assert found.folder == folder / "run-tuned"
    tuned = qk.load_calibration(found.folder)
    assert (tuned.method, tuned.tuned and tuned.tuned.method) == ("tuned", "mse-robust")
    assert qk.Recipe.of(tuned).digest(True) != qk.Recipe.of(own).digest(True)
    assert qk.Recipe.of(qk.load_calibration(folder / "run")).digest(True) == qk.Recipe.of(own).digest(True)
    assert (found.folder / "artifacts/tensorrt/int8/model.onnx").is_file()
    settings = run_config(found.folder)  # by which it can be calibrated otherwise
    assert (settings.model.path, settings.calibrate.method) == (folder / "m.onnx", "mse-robust")
    assert settings.data.calibration == folder / "imgs"


def _pairs() -> Iterator[tuple[Any, int]]:
    yield from ((pixels, number % 3) for number, pixels in enumerate(PIXELS))


@pytest.mark.parametrize("kind", ["array", "list", "generator"])
def test_samples_of_ones_own_and_a_calibration_in_memory(folder: Path, tmp_path: Path, kind: str) -> None:
    calibration = qk.calibrate(folder / "m.onnx", PIXELS)
    data: Any = {"array": PIXELS, "list": list(_pairs()), "generator": _pairs()}[kind]
    found = qk.tune(calibration, data, target="onnxruntime", min_sqnr=20, output=tmp_path / "tuned")
    assert (found.tuned_on, found.held_out) == (32, 32)
    compared = qk.load_comparison(tmp_path / "tuned")
    assert compared.samples == 32  # the others, read once more
    assert (compared.labelled > 0) == (kind != "array")


def test_what_cannot_be_is_refused(folder: Path) -> None:
    calibration = qk.load_calibration(folder / "run")
    with pytest.raises(BadConfig, match="two goals"):
        qk.tune(calibration, folder / "imgs", max_drop=1, min_sqnr=30)
    with pytest.raises(BadData, match="too few"):
        qk.tune(calibration, PIXELS[:49])
    with pytest.raises(BadConfig, match="no folder"):
        qk.tune(qk.calibrate(folder / "m.onnx", PIXELS), PIXELS)
