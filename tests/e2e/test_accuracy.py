"""The accuracy that default settings promise in OpenVINO, on real models where they are at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

import quantkit

pytest.importorskip("openvino")
SHARED = Path(__file__).parents[3] / "shared"
IMAGES = SHARED / "images" / "cifar10"
# model, calibration images, SQNR in dB over the first 200 evaluation images: half a decibel under what was measured,
# and above every peer's (docs/accuracy.md).
BARS = {"resnet20_cifar10": (200, 31.5), "mobilenet_v2_cifar10": (100, 32.5)}


@pytest.mark.openvino
@pytest.mark.parametrize("name", BARS)
def test_int8_stays_close_to_fp32(name: str, tmp_path: Path) -> None:
    model = SHARED / "models" / f"{name}.onnx"
    if not model.exists() or not IMAGES.exists():
        pytest.skip("the measuring material is not here")
    samples, bar = BARS[name]
    calibration = quantkit.calibrate(model, IMAGES / "calib.txt", samples=samples, output=tmp_path)
    comparison = quantkit.compare(
        calibration, IMAGES / "eval.txt", targets=["openvino"], precisions=["int8"], samples=200
    )
    row = next(row for row in comparison.rows if row.precision == "int8")
    assert row.sqnr_db is not None
    assert row.sqnr_db > bar
    assert row.agreement >= 0.98
