"""A calibrated run to build engines of."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest

import quantkit as qk
from quantkit.core.calibration import Calibration
from quantkit.targets.tensorrt.engine.libraries import RTX
from tests.conftest import tiny_model, write_images

if os.environ.get("QUANTKIT_NEEDS_RTX") and not RTX.is_installed():
    raise RuntimeError("TensorRT for RTX is not installed here, where its tests must not be skipped")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, images and a finished calibration."""
    folder = tmp_path_factory.mktemp("made")
    onnx.save(tiny_model(), folder / "tiny.onnx")
    qk.calibrate(folder / "tiny.onnx", write_images(folder / "imgs"), output=folder / "run")
    return folder


@pytest.fixture(scope="module")
def calibration(made: Path) -> Calibration:
    return qk.load_calibration(made / "run")
