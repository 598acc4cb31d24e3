"""quantkit against TensorRT 8.6's own calibrators (NVIDIA H200, batch 1), on the project's models and inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import quantkit as qk
from quantkit.calibrators.entropy import MAGNITUDES
from quantkit.calibrators.numerics.divergence import divergences
from quantkit.core.calibration import Calibration
from quantkit.formats.tensorrt_cache import parse_cache
from tests.golden.cases import CASES

HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def calibration(case: str, tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    return calibrated(case, tmp_path_factory.mktemp(case))


def calibrated(case: str, folder: Path) -> Calibration:
    model, inputs = CASES[case]()
    (folder / f"{case}.onnx").write_bytes(model)
    np.save(folder / f"{case}.npy", inputs[:200])
    return qk.calibrate(folder / f"{case}.onnx", folder / f"{case}.npy", samples=200)


def cache(name: str) -> dict[str, float]:
    """amax by tensor, of those that the ONNX file names."""
    _, amax = parse_cache((HERE / name).read_text(), name)
    return {tensor: value for tensor, value in amax.items() if not tensor.startswith("(Unnamed")}


# TensorRT gives what a pool puts out the range of what it takes in, whatever the calibrator found.
POOLED = {"pooled": "sum_relu", "averaged": "sum_relu"}
NEAR = 1.01  # times the least divergence: rounding differences between a GPU and a CPU decide such ties


def test_minmax_is_tensorrts(case: str, calibration: Calibration) -> None:
    theirs = cache(f"{case}.minmax.cache")
    assert set(theirs) <= set(calibration.tensors)
    for name, amax in theirs.items():
        source = POOLED.get(name, name)
        assert calibration.tensors[source].candidates["minmax"].amax == pytest.approx(amax, rel=1e-5), name


def test_entropy_thresholds_fall_into_tensorrts_bins(case: str, calibration: Calibration) -> None:
    theirs = cache(f"{case}.entropy2.cache")
    ties = []
    for name, amax in theirs.items():
        source = POOLED.get(name, name)
        histogram = calibration.histograms[source]
        found = calibration.tensors[source].candidates["entropy"].amax
        bins = [round(value / histogram.width - 0.5) for value in (amax, found)]
        if bins[0] != bins[1]:
            counts = histogram.absolute
            counts[0] = counts[1]
            there, here = divergences(counts, MAGNITUDES, MAGNITUDES)[[i - MAGNITUDES for i in bins]]
            assert there < NEAR * here, name
            ties.append(name)
    assert len(ties) <= {"digits": 3, "mixed": 0}[case], ties
    assert len(theirs) == {"digits": 32, "mixed": 18}[case]
