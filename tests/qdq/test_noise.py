"""What rounding leaves of a tensor, predicted from its histogram, is what it leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantkit.calibrators.collect import Collector, first_widths
from quantkit.core.statistics.histogram import Histogram
from quantkit.qdq.noise import RUINED, Noise, bulk_variance, expected_sqnr
from tests.graphs.small import calibrated, network, quantized, weights

RNG = np.random.default_rng(5)


def histogram_of(values: np.ndarray) -> Histogram:
    tensor = values.astype(np.float32).reshape(1, -1)
    collector = Collector(first_widths({"x": float(np.abs(tensor).max())}), 1)
    collector.observe({"x": tensor}, 0)
    return collector.collected().histograms["x"]


def rounded(values: np.ndarray, step: float) -> float:
    """The SQNR of rounding all values but the largest thousandth, in dB."""
    kept = values[np.abs(values) <= np.quantile(np.abs(values), 0.999)]
    error = np.rint(kept / step) * step - kept
    return float(10 * np.log10(kept.var() / (error**2).mean()))


HEALTHY = {
    "normal": RNG.normal(0, 1, 100_000),
    "Laplace": RNG.laplace(0, 1, 100_000),
    "after a ReLU": np.maximum(RNG.normal(0, 1, 100_000), 0),
    "uniform": RNG.uniform(0, 640, 100_000),
    "shifted": RNG.normal(20, 1, 100_000),
}


@pytest.mark.parametrize("kind", HEALTHY)
def test_the_prediction_is_what_rounding_does(kind: str) -> None:
    values = HEALTHY[kind]
    step = float(np.abs(values).max()) / 127
    predicted = expected_sqnr(bulk_variance(histogram_of(values)), step)
    found = rounded(values, step)
    assert found - (3.5 if kind == "after a ReLU" else 1.5) < predicted < found + 1.5  # zeros are rounded without noise


RUINED_ONES = {
    "an outlier among many": np.append(RNG.normal(0, 1, 100_000), [3000.0, -2500.0]),
    "few and large": np.append(RNG.normal(0, 1, 100_000), RNG.normal(0, 1e4, 50)),
    "masked once in ten thousand": np.append(RNG.normal(0, 1, 100_000), [-1e9] * 10),
    "nearly constant": np.append(RNG.normal(1000, 0.01, 100_000), [0.0]),
}


@pytest.mark.parametrize("kind", RUINED_ONES)
def test_values_that_fall_into_one_step_are_ruined(kind: str) -> None:
    values = RUINED_ONES[kind]
    noise = Noise({"x": histogram_of(values)}, None)
    assert noise.of("x", float(np.abs(values).max()) / 127) < RUINED


def test_nothing_is_known_of_a_tensor_without_a_histogram_nor_ruined_of_a_constant() -> None:
    assert Noise(None, None).of("x", 1.0) == np.inf
    assert Noise({"x": histogram_of(np.zeros(100))}, None).of("x", 1.0) == np.inf
    assert Noise(None, None).of_worst_channel("x", 1.0) == np.inf


def one_layer(text: str, constants: dict[str, object], x: np.ndarray, folder: Path) -> dict[str, str]:
    """Why the layers of a model stay in floating point."""
    calibration = calibrated(network(text, constants), {"x": x.astype(np.float32)}, folder, method="minmax")
    return dict(quantized(calibration, "tensorrt").layers.left)


def test_a_layer_behind_an_outlier_stays_in_floating_point_and_says_why(tmp_path: Path) -> None:
    x = RNG.normal(0, 1, (100, 8, 32))
    x[0, 0, 0] = 40_000
    left = one_layer("(float[N,8,32] x) => (float[N,8,32] y) { y = MatMul(x, w) }", {"w": weights(32, 32)}, x, tmp_path)
    assert "rounding x would leave -" in left["MatMul_0"]


@pytest.mark.parametrize("ratio", [1.0, 8.0, 2000.0])
def test_parts_of_a_concat_need_scales_that_suit_them(tmp_path: Path, ratio: float) -> None:
    text = "(float[N,8,32] x) => (float[N,8,32] y) { a = MatMul(x, v)  c = Concat<axis=2>(a, x)  y = MatMul(c, w) }"
    constants = {"v": weights(32, 32, gain=ratio), "w": weights(64, 32)}
    left = one_layer(text, constants, RNG.normal(0, 1, (100, 8, 32)), tmp_path)
    assert ("MatMul_2" in left) == (ratio > 100)
    if ratio > 100:
        assert "of its part x" in left["MatMul_2"]
