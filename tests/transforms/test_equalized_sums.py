"""Sums of Convs whose channels are far apart survive one scale when they are equalized; the function is the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quantkit.core.recipe import Recipe
from quantkit.graph.model_file import open_model
from quantkit.targets import targets_named
from tests.graphs.small import calibrated, db, network, outputs, weights

TEXT = """(float[N, 16, 8, 8] x) => (float[N, 8, 8, 8] y) {
    c = Conv (x, w1, b1)  d = Conv (c, w2)  r = Relu (d)  e = Conv (r, w3)  s = Add (c, e)  f = Conv (s, w4)
    y = Relu (f)
}"""
FAR = 60.0


def model(text: str = TEXT):  # type: ignore[no-untyped-def]
    own = {"w1": weights(16, 16, 1, 1), "b1": weights(16), "w2": weights(16, 16, 1, 1), "w3": weights(16, 16, 1, 1),
           "w4": weights(8, 16, 1, 1)}  # fmt: skip
    for name in ("w1", "b1", "w3"):
        own[name][:2] *= FAR
    for name in ("w2", "w4"):
        own[name][:, :2] /= FAR
    return network(text, own)


DATA = np.random.default_rng(0).normal(size=(120, 16, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("target", ["onnxruntime", "openvino", "tensorrt"])
def test_what_one_scale_ruins_is_saved(target: str, tmp_path: Path) -> None:
    if target == "openvino":
        pytest.importorskip("openvino")
    proto = model()
    calibration = calibrated(proto, {"x": DATA}, tmp_path, samples=120)
    recipe = Recipe.of(calibration)
    (own,) = targets_named([target])
    opened = open_model(tmp_path / "model.onnx")
    exact = outputs(proto, {"x": DATA[:16]})[0]
    found = {}
    for sums in (False, True):
        changed = replace(recipe, equalize_sums=sums)
        floating = own.floating(opened, changed)
        assert db(exact, outputs(floating.proto, {"x": DATA[:16]})[0]) > 90
        assert ({"c", "e", "s"} <= floating.factors.keys()) == sums
        made = own.quantized(opened, changed).proto
        found[sums] = db(exact, outputs(made, {"x": DATA[:16]}, optimized=False)[0])
    assert found[True] > found[False] + 10, found


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("(float[N, 8, 8, 8] y)", "(float[N, 8, 8, 8] y, float[N, 16, 8, 8] s)"),  # the user reads it
        TEXT.replace("s = Add (c, e)", "q = Sigmoid (c)  s = Add (q, e)"),  # something else reads it
        TEXT.replace("s = Add (c, e)", "s = Add (x, e)"),  # something else gives it
    ],
)
def test_tensors_that_others_give_or_read_are_left_alone(text: str, tmp_path: Path) -> None:
    calibration = calibrated(model(text), {"x": DATA}, tmp_path, samples=120)
    (own,) = targets_named(["onnxruntime"])
    floating = own.floating(open_model(tmp_path / "model.onnx"), replace(Recipe.of(calibration), equalize_sums=True))
    assert "s" not in floating.factors
    assert db(outputs(model(text), {"x": DATA[:8]})[0], outputs(floating.proto, {"x": DATA[:8]})[0]) > 90


def test_biases_are_shifted_in_the_units_of_the_user_s_model(tmp_path: Path) -> None:
    proto = model()
    calibration = calibrated(proto, {"x": DATA}, tmp_path, samples=120)
    (own,) = targets_named(["tensorrt"])
    opened = open_model(tmp_path / "model.onnx")
    shift = np.linspace(-1, 1, 16)
    for sums in (False, True):
        recipe = replace(Recipe.of(calibration), equalize_sums=sums)
        before, after = (own.quantized(opened, each).proto for each in (recipe, replace(recipe, biases={"c": shift})))
        factors = own.floating(opened, recipe).factors.get("c", np.ones(16))
        constants = [{t.name: t for t in one.graph.initializer} for one in (before, after)]
        changed = [
            (np.frombuffer(a.raw_data, np.float32) - np.frombuffer(constants[1][n].raw_data, np.float32)) / factors
            for n, a in constants[0].items()
            if a.raw_data != constants[1][n].raw_data
        ]
        assert len(changed) == 1
        np.testing.assert_allclose(changed[0], shift, atol=1e-4)
