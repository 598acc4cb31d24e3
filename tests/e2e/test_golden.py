"""TensorRT 8.6's own calibrators against ours, on the measuring material that lies beside a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

import quantkit
from quantkit.targets.tensorrt.cache import parse_cache

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("model", "cache", "method", "least"),
    [
        ("mobilenet_v2_cifar10", "mobilenet_v2_cifar10.entropy2.cache", "entropy", 99),
        ("mobilenet_v2_cifar10", "mobilenet_v2_cifar10.minmax.cache", "minmax", 101),
        ("resnet20_cifar10", "resnet20_cifar10.entropy2.cache", "entropy", 50),
    ],
)
def test_thresholds_fall_into_tensorrts_bins(
    shared: Path, tmp_path_factory: pytest.TempPathFactory, model: str, cache: str, method: str, least: int
) -> None:
    golden = shared / "golden" / "tensorrt-8.6.0"
    # One run directory a model: the second method is solved from the same histograms.
    folder = tmp_path_factory.getbasetemp() / model
    calibration = quantkit.calibrate(
        shared / "models" / f"{model}.onnx",
        golden / "calibration_images.txt",
        method=method,
        samples=200,
        output=folder,
    )
    _, theirs = parse_cache((golden / cache).read_text(), cache)
    common = [name for name in theirs if name in calibration.tensors]
    if method == "minmax":
        met = [name for name in common if calibration.tensors[name].amax == pytest.approx(theirs[name], rel=1e-5)]
    else:
        widths = {name: calibration.histograms[name].width for name in common}
        met = [
            name
            for name in common
            if round(theirs[name] / widths[name] - 0.5) == round(calibration.tensors[name].amax / widths[name] - 0.5)
        ]
    assert len(common) == len([name for name in theirs if not name.startswith("(Unnamed")])
    assert len(met) >= least, sorted(set(common) - set(met))
