"""TensorRT's own library where there is no GPU; skipped where it is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantkit.core.errors import BackendMissing
from quantkit.targets.tensorrt.engine import builder
from quantkit.targets.tensorrt.engine.builder import Job
from quantkit.targets.tensorrt.engine.libraries import TENSORRT
from quantkit.targets.tensorrt.engine.plan import BuildSettings, plan_for

pytest.importorskip("tensorrt", reason="TensorRT is not installed")
pytestmark = pytest.mark.skipif(TENSORRT.availability().works, reason="there is a GPU here")


def test_a_cuda_that_does_not_start_is_told(model_path: Path, tmp_path: Path) -> None:
    plan = plan_for("fp32", "auto", TENSORRT.interface())
    with pytest.raises(BackendMissing, match=r"TensorRT does not start .*CUDA initialization failure"):
        builder.build(Job(model_path, plan, [], BuildSettings(), timing_cache=tmp_path / "timing.cache"))


def test_it_is_told_that_there_is_no_gpu() -> None:
    assert TENSORRT.availability().reason == "there is no NVIDIA GPU, or no driver for it"
