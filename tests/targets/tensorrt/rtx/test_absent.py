"""What is said of the target ``tensorrt-rtx`` where its library is not, and that nobody gets it unasked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import quantkit as qk
from quantkit.core.calibration import Calibration
from quantkit.targets.tensorrt.engine.libraries import RTX
from tests.conftest import Quantkit

absent = pytest.mark.skipif(RTX.is_installed(), reason="TensorRT for RTX is installed here")


@absent
@pytest.mark.parametrize("verb", ["build", "compare"])
def test_it_is_told_what_to_install(quantkit: Quantkit, made: Path, verb: str) -> None:
    data = ("--data", made / "imgs") if verb == "compare" else ()
    done = quantkit(verb, made / "run", *data, "--target", "tensorrt-rtx")
    assert done.returncode == 3, done.stderr
    assert "cannot be " in done.stderr
    assert "the package tensorrt-rtx-cu13-bindings is not installed." in done.stderr
    assert f"python3.{sys.version_info.minor} -m pip install 'quantkit-int8[tensorrt-rtx]'" in done.stderr


def test_compute_capabilities_are_for_its_engines_alone(quantkit: Quantkit, made: Path) -> None:
    done = quantkit("build", made / "run", "--compute-capability", "8.6")
    assert done.returncode == 2
    assert "TensorRT builds for the GPU that is here." in done.stderr


def test_it_is_used_only_by_name(calibration: Calibration, tmp_path: Path) -> None:
    assert "tensorrt-rtx" not in {artifact.target for artifact in qk.export(calibration, output=tmp_path / "all")}
    fp16, int8 = qk.export(calibration, "tensorrt-rtx", precisions=("fp16", "int8"), output=tmp_path / "named")
    assert [file.name for file in fp16.files] == ["model.onnx"]
    assert [file.name for file in int8.files] == ["model.onnx", "strongly_typed.onnx"]  # and no cache
