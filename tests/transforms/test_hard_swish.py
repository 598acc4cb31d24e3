"""HardSwish that is spelled out is computed in fewer passes, to the same values."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from quantkit.transforms.hard_swish import shorten_hard_swish
from tests.graphs.small import calibrated, db, network, outputs, quantized, weights

X = {"x": np.random.default_rng(1).normal(0, 4, (64, 16)).astype(np.float32)}
ENDS = np.array([[-1e30, -3.0000002, -3, -2.9999998, 0, 2.9999998, 3, 3.0000002, 1e30, 5, -5, 1, -1, 2, -2, 0.5]])
CONSTANTS = {"b3": 3.0, "low": 0.0, "high": 6.0, "d": 6.0, "k": 1 / 6, "b1": 1.0, "two": 2.0, "other": 5.0}
OPENING = "(float[N,16] x) => (float[N,16] y) {"
SPELLED = {
    "divided after": "a = Add(x, b3)  c = Clip(a, low, high)  m = Mul(x, c)  y = Div(m, d) }",
    "divided before": "a = Add(x, b3)  c = Clip(a, low, high)  g = Div(c, d)  y = Mul(x, g) }",
    "by a reciprocal": "a = Add(b3, x)  c = Clip(a, low, high)  m = Mul(c, x)  y = Mul(k, m) }",
    "the gate alone": "a = Add(x, b3)  c = Clip(a, low, high)  y = Div(c, d) }",
    "of another width": "a = Add(x, b1)  c = Clip(a, low, two)  m = Mul(c, x)  y = Div(m, two) }",
}
OTHERS = {
    "not by its width": "a = Add(x, b3)  c = Clip(a, low, high)  m = Mul(x, c)  y = Div(m, other) }",
    "divides the number": "a = Add(x, b3)  c = Clip(a, low, high)  y = Div(d, c) }",
    "of two tensors": "a = Add(x, x)  c = Clip(a, low, high)  y = Div(c, d) }",
    "of a lower bound": "a = Add(x, b3)  c = Clip(a, b1, high)  y = Div(c, d) }",
    "read elsewhere": "a = Add(x, b3)  c = Clip(a, low, high)  g = Div(c, d)  n = Mul(a, g)  y = Mul(n, c) }",
}


@pytest.mark.parametrize("which", SPELLED)
def test_values_stay(which: str) -> None:
    model = network(OPENING + SPELLED[which], CONSTANTS)
    shorter = onnx.ModelProto.FromString(model.SerializeToString())
    assert shorten_hard_swish(shorter.graph) == 1
    onnx.checker.check_model(shorter, full_check=True)
    kinds = Counter(node.op_type for node in shorter.graph.node)
    assert kinds["HardSigmoid"] == 1
    assert kinds["Clip"] == kinds["Add"] == 0
    for x in (X["x"], ENDS.astype(np.float32)):
        (before,), (after,) = outputs(model, {"x": x}), outputs(shorter, {"x": x})
        np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("which", OTHERS)
def test_what_is_none_stays(which: str) -> None:
    model = network(OPENING + OTHERS[which], CONSTANTS)
    before = model.SerializeToString(deterministic=True)
    assert shorten_hard_swish(model.graph) == 0
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("which", ["divided after", "divided before", "by a reciprocal"])
def test_int8_between_layers_is_shorter_and_as_near(tmp_path: Path, which: str) -> None:
    body = SPELLED[which].replace("x", "h").replace("y =", "s =").removesuffix("}")
    text = f"{OPENING} h = MatMul(x, w)  {body} y = MatMul(s, v) }}"
    model = network(text, CONSTANTS | {"w": weights(16, 32), "v": weights(32, 16)})
    made = quantized(calibrated(model, X, tmp_path, output=tmp_path / "run")).proto
    kinds = Counter(node.op_type for node in made.graph.node)
    assert (kinds["HardSigmoid"], kinds["Clip"], kinds["Div"]) == (1, 0, 0)
    assert db(outputs(model, X)[0], outputs(made, X)[0]) > 30
