"""Devices are known in any case, and recorded as their runtime spells them."""

from __future__ import annotations

from pathlib import Path

import pytest

import quantkit as qk
from quantkit.core import cuda
from quantkit.core.errors import BackendMissing
from quantkit.targets.base import canonical_device


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("cpu", "CPU"),
        ("Gpu.1", "GPU.1"),
        ("auto:gpu,cpu", "AUTO:GPU,CPU"),
        ("NPU", "NPU"),
        ("CUDA:0", "cuda:0"),
        ("cuda:1", "cuda:1"),
    ],
)
def test_a_device_has_one_name(given: str, canonical: str) -> None:
    assert canonical_device(given) == canonical


def test_the_record_has_that_name(model_path: Path, images: Path) -> None:
    calibration = qk.calibrate(model_path, images)
    rows = qk.compare(calibration, images, targets=["onnxruntime"], precisions=["fp32"], device="Cpu").rows
    assert [row.device for row in rows] == ["CPU"]


def test_a_gpu_is_chosen_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    class Runtime:
        @staticmethod
        def cudaSetDevice(number: int) -> tuple[int]:
            return (0,)

    monkeypatch.setattr(cuda, "device_count", lambda: 2)
    monkeypatch.setattr(cuda, "runtime", lambda: Runtime)
    assert [cuda.select(device) for device in ("cuda:0", "CUDA:1", "Cuda:1")] == [0, 1, 1]
    with pytest.raises(BackendMissing, match="'CUDA:2'"):
        cuda.select("CUDA:2")
