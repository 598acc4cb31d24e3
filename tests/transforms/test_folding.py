"""Arithmetic folded into layers: it is gone, and the model computes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantkit.transforms.prepare import prepared
from tests.graphs.small import network, opened, outputs, weights

RNG = np.random.default_rng(9)
X = {"x": RNG.normal(0, 1, (4, 8, 6, 6)).astype(np.float32)}
ROWS = {"x": RNG.normal(0, 1, (4, 8)).astype(np.float32)}
PER_CHANNEL = RNG.uniform(0.5, 2, (8, 1, 1))
CONSTANTS = {
    "w": weights(8, 8, 3, 3), "g": weights(8, 8), "b": RNG.normal(0, 1, 8), "c": PER_CHANNEL, "c4": PER_CHANNEL[None],
    "two": 2.0, "pixel": RNG.normal(0, 1, (6, 6)), "row": RNG.uniform(0.5, 2, 8), "row2": RNG.uniform(0.5, 2, (1, 8)),
    "zeros": np.where(np.arange(8) < 2, 0.0, 1.0).reshape(8, 1, 1), "column": RNG.normal(0, 1, (4, 1)),
    "matrix": RNG.normal(0, 1, (4, 8)),
}  # fmt: skip
CONV = "a = Conv<pads=[1,1,1,1]>(x, w, b)"
GEMM = "a = Gemm(x, g, b)"
FOLDED = {
    "an offset": (CONV, "y = Add(a, c)"),
    "an offset from the left": (CONV, "y = Add(c4, a)"),
    "a factor": (CONV, "y = Mul(a, c)"),
    "a number": (CONV, "y = Mul(two, a)"),
    "subtracted": (CONV, "y = Sub(a, c)"),
    "subtracted from": (CONV, "y = Sub(two, a)"),
    "divided": (CONV, "y = Div(a, c4)"),
    "several in a row": (CONV, "p = Mul(a, c)  q = Add(p, c4)  y = Div(q, two)"),
    "without a bias": ("a = Conv<pads=[1,1,1,1]>(x, w)", "y = Add(a, c)"),
    "a Gemm's": (GEMM, "p = Mul(a, row)  y = Add(p, row2)"),
}
KEPT = {
    "one for each pixel": (CONV, "y = Add(a, pixel)"),
    "divided by": (CONV, "y = Div(two, a)"),
    "divided by zero": (CONV, "y = Div(a, zeros)"),
    "of a layer that others read": (CONV, "y = Add(a, c)  z = Relu(a)"),
    "one for each row of a Gemm": (GEMM, "y = Add(a, column)"),
    "one for each value of a Gemm": (GEMM, "y = Mul(a, matrix)"),
}


def model_of(layer: str, rest: str) -> tuple:
    rows = layer.startswith("a = Gemm")
    text = f"(float[N,{'8' if rows else '8,6,6'}] x) => (float[N,{'8' if rows else '8,6,6'}] y) {{ {layer}  {rest} }}"
    if "z = " in rest:
        text = text.replace(" y) {", " y, float[N,8,6,6] z) {")
    names = {name for name in CONSTANTS if f"{name})" in text or f"{name}," in text or f", {name}" in text}
    return network(text, {name: CONSTANTS[name] for name in names}), ROWS if rows else X


@pytest.mark.parametrize("how", FOLDED)
def test_constants_for_each_channel_are_folded(tmp_path: Path, how: str) -> None:
    model, feed = model_of(*FOLDED[how])
    ready = prepared(opened(model, tmp_path))
    assert [node.op_type for node in ready.graph.node] in (["Conv"], ["Gemm"])
    assert ready.graph.node[0].output[0] == "y"
    assert np.allclose(outputs(model, feed)[0], outputs(ready, feed)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("how", KEPT)
def test_what_is_no_constant_for_each_channel_stays(tmp_path: Path, how: str) -> None:
    model, feed = model_of(*KEPT[how])
    ready = prepared(opened(model, tmp_path))
    assert len(ready.graph.node) == len(model.graph.node)
    with np.errstate(all="ignore"):
        for exact, found in zip(outputs(model, feed), outputs(ready, feed), strict=True):
            assert np.allclose(exact, found, rtol=1e-4, atol=1e-5, equal_nan=True)
