"""Least squares makes the layer's error smaller than the nearest integer does, and never leaves the integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quantkit as qk
from quantkit.core.recipe import Recipe
from quantkit.qdq.rounding import least_squares, nearest
from tests.graphs.small import db, network, outputs, quantized


def covariance(numbers: np.random.Generator, parts: int, size: int, rank: int) -> np.ndarray:
    rows = numbers.normal(size=(parts, 400, rank)) @ numbers.normal(size=(parts, rank, size))
    rows = np.maximum(rows, 0) + 0.01 * numbers.normal(size=(parts, 400, size))
    centred = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(centred.transpose(0, 2, 1) @ centred / 400)


def variance(weight: np.ndarray, rounded: np.ndarray, inputs: np.ndarray) -> float:
    error = weight - rounded
    return float(np.einsum("boi,bij,boj->", error, inputs, error))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(2, 150), st.integers(1, 12))
def test_the_error_is_smaller_than_that_of_the_nearest_integers(seed: int, parts: int, size: int, rank: int) -> None:
    numbers = np.random.default_rng(seed)
    inputs = covariance(numbers, parts, size, rank)
    weight = numbers.normal(size=(parts, 40, size)) * 30
    found, plain = least_squares(weight, inputs, 127), nearest(weight, 127)
    assert (found == np.rint(found)).all() and np.abs(found).max() <= 127
    assert variance(weight, found, inputs) <= variance(weight, plain, inputs) * 1.02


def test_correlated_inputs_gain_most() -> None:
    numbers = np.random.default_rng(0)
    inputs, weight = covariance(numbers, 1, 64, 8), numbers.normal(size=(1, 100, 64)) * 30
    found, plain = least_squares(weight, inputs, 127), nearest(weight, 127)
    assert variance(weight, found, inputs) < 0.3 * variance(weight, plain, inputs)


def test_independent_inputs_are_rounded_to_nearest() -> None:
    weight = np.random.default_rng(0).normal(size=(2, 5, 30)) * 30
    inputs = np.stack([np.diag(np.linspace(1, 5, 30))] * 2)
    np.testing.assert_array_equal(least_squares(weight, inputs, 127), nearest(weight, 127))


@pytest.mark.parametrize(
    "inputs", [np.zeros((1, 9, 9)), np.ones((1, 9, 9)), -np.eye(9)[None] * 1e-9, np.full((1, 9, 9), -1e300)]
)
def test_covariances_that_have_no_inverse_are_damped(inputs: np.ndarray) -> None:
    weight = np.random.default_rng(0).normal(size=(1, 4, 9)) * 30
    found = least_squares(weight, inputs, 127)
    assert np.isfinite(found).all() and np.abs(found - weight).max() < 30


@pytest.mark.parametrize("dialect", ["onnxruntime", "openvino", "tensorrt"])
@pytest.mark.parametrize("layer", ["conv", "depthwise", "matmul"])
def test_a_model_s_error_shrinks_in_every_dialect(dialect: str, layer: str, tmp_path: Path) -> None:
    numbers = np.random.default_rng(1)
    mixing = numbers.normal(size=(4, 32))
    if layer == "matmul":
        text = "(float[N, 20, 32] x) => (float[N, 20, 32] y) { r = Relu (x) y = MatMul (r, w) }"
        weight = numbers.normal(size=(32, 32))
        data = numbers.normal(size=(48, 20, 4)) @ mixing
    else:
        groups = 32 if layer == "depthwise" else 1
        text = (
            "(float[N, 32, 12, 12] x) => (float[N, 32, 12, 12] y) "
            f"{{ r = Relu (x) y = Conv <pads = [1, 1, 1, 1], group = {groups}> (r, w) }}"
        )
        weight = numbers.normal(size=(32, 32 // groups, 3, 3))
        smooth = numbers.normal(size=(48, 12, 12, 4)).cumsum(axis=1).cumsum(axis=2)
        data = (smooth @ mixing).transpose(0, 3, 1, 2)
    path = tmp_path / "model.onnx"
    model = network(text, {"w": weight.astype(np.float32)})
    path.write_bytes(model.SerializeToString())
    data = data.astype(np.float32)
    found = {}
    for rounding in ("nearest", "least-squares"):
        calibration = qk.calibrate(path, data[:40], rounding=rounding)
        assert bool(Recipe.of(calibration).moments) == (rounding == "least-squares")
        made = quantized(calibration, dialect).proto
        found[rounding] = db(outputs(model, {"x": data[40:]})[0], outputs(made, {"x": data[40:]}, optimized=False)[0])
    assert found["least-squares"] >= found["nearest"] - 0.1, found
