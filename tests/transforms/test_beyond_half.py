"""What FP16 cannot hold: folded, or left in FP32 and named. The FP16 model stays as good as FP16 is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from quantkit.core.ranges import TensorRange
from quantkit.transforms.half_precision import Half, half_precision
from tests.graphs.small import db, network, opened, outputs, weights

RNG = np.random.default_rng(2)
X = {"x": RNG.normal(0, 1, (4, 16, 6, 6)).astype(np.float32)}
IN_OUT = "(float[N,16,6,6] x) => (float[N,16,6,6] y)"
NORMALIZED = """p = Mul(x, tiny)  u = ReduceMean<axes=[1]>(p)  d = Sub(p, u)  q = Mul(d, d)  v = ReduceMean<axes=[1]>(q)
    e = Add(v, eps)  s = Sqrt(e)  y = Div(d, s)"""
HARD = {
    "a large variance behind a Conv": ("c = Conv(x, w)  y = BatchNormalization(c, big, b, m, bigger)", "folded"),
    "a large variance alone": ("r = Mul(x, k)  y = BatchNormalization(r, big, b, m, bigger)", "folded"),
    "a tiny epsilon": (NORMALIZED, "epsilon"),
    "a tiny epsilon, with a root written as a power": (NORMALIZED.replace("Sqrt(e)", "Pow(e, half)"), "epsilon"),
    "a large factor and back": ("p = Mul(x, million)  r = Tanh(x)  t = Add(p, r)  y = Mul(t, millionth)", "large"),
    "a large divisor": ("p = Div(x, millionth)  y = Mul(p, millionth)", "small"),
}
CONSTANTS = {
    "w": weights(16, 16, 1, 1), "big": np.full(16, 1e4), "b": RNG.normal(0, 1, 16), "m": RNG.normal(0, 1, 16),
    "bigger": np.full(16, 9.8e7), "k": 5000.0, "tiny": 1e-4, "eps": 1e-10, "half": 0.5, "million": 1e6,
    "millionth": 1e-7,
}  # fmt: skip


def converted(body: str, folder: Path, strongly_typed: bool, ranges: dict[str, TensorRange] | None = None) -> tuple:
    names = {name for name in CONSTANTS if f" {name})" in body or f" {name}," in body}
    model = network(f"{IN_OUT} {{ {body} }}", {name: CONSTANTS[name] for name in names}, opset=15)
    half = half_precision(opened(model, folder), strongly_typed, ranges)
    onnx.checker.check_model(half.proto, full_check=True)
    return model, half


@pytest.mark.parametrize("strongly_typed", [False, True])
@pytest.mark.parametrize("case", HARD)
def test_the_fp16_model_is_right_and_says_what_stays(tmp_path: Path, case: str, strongly_typed: bool) -> None:
    body, word = HARD[case]
    model, half = converted(body, tmp_path, strongly_typed)
    assert db(outputs(model, X)[0], outputs(half.proto, X, optimized=False)[0]) > 40
    notes = " ".join(half.notes)
    assert (half.notes == ()) if word == "folded" else (" in FP32 (" in notes)


def test_calibrated_ranges_tell_which_tensors_fp16_cannot_hold(tmp_path: Path) -> None:
    body = "p = Mul(x, x)  q = Mul(p, p)  r = Mul(q, q)  s = Mul(r, r)  t = Sqrt(s)  y = Sqrt(t)"
    large = {"x": (X["x"] * 4).astype(np.float32)}
    model, blind = converted(body, tmp_path, strongly_typed=True)
    assert not blind.kept
    ranges = {name: TensorRange(1e9, -1.0, 1e9) for name in "st"}
    _, half = converted(body, tmp_path, True, ranges)
    exact = outputs(model, large)[0]
    assert db(exact, outputs(half.proto, large, optimized=False)[0]) > 40
    assert "s reaches 1.0e+09" in half.notes[0]


@pytest.mark.parametrize("lowest", [-1e9, -3.4e38])
def test_a_mask_stays_in_fp16(tmp_path: Path, lowest: float) -> None:
    model = network(
        "(float[N,4,8] x) => (float[N,4,8] y) { s = Add(x, mask)  y = Softmax<axis=2>(s) }",
        {"mask": np.where(np.arange(8) > 5, lowest, 0.0)},
    )
    ranges = {"s": TensorRange(-lowest, lowest, 5.0)}
    half: Half = half_precision(opened(model, tmp_path), True, ranges)
    assert not half.kept
    feed = {"x": X["x"].reshape(4, -1)[:, :32].reshape(4, 4, 8)}
    assert db(outputs(model, feed)[0], outputs(half.proto, feed, optimized=False)[0]) > 50


@pytest.mark.parametrize("names", [("graph_input_cast_0", "y"), ("x", "graph_output_cast_0"), ("x", "r_cast_to_fp16")])
def test_names_that_the_converter_gives_are_kept_apart(tmp_path: Path, names: tuple[str, str]) -> None:
    first, last = names
    model = network(f"(float[N,4] {first}) => (float[N,4] {last}) {{ r = Relu({first})  {last} = Abs(r) }}")
    extra = network("(float[N,4] x) => (float[N,4] y) { graph_input_cast_0 = Relu(x)  y = Abs(graph_input_cast_0) }")
    for number, own in enumerate((model, extra)):
        (tmp_path / str(number)).mkdir()
        for strongly_typed in (False, True):
            half = half_precision(opened(own, tmp_path / str(number)), strongly_typed).proto
            onnx.checker.check_model(half, full_check=True)
            port = own.graph.input[0].name
            assert half.graph.input[0].name == port
            assert half.graph.output[0].name == own.graph.output[0].name
            found = outputs(half, {port: X["x"].reshape(4, -1)[:, :4]}, optimized=False)[0]
            assert np.allclose(found, np.maximum(X["x"].reshape(4, -1)[:, :4], 0), atol=1e-2)


def test_inputs_and_constants_that_are_outputs(tmp_path: Path) -> None:
    model = network(
        "(float[N,4] x) => (float[N,4] y, float[N,4] x, float[4] c) { y = Mul(x, c) }", {"c": np.arange(4.0)}
    )
    half = half_precision(opened(model, tmp_path), strongly_typed=True).proto
    onnx.checker.check_model(half, full_check=True)
    feed = {"x": X["x"].reshape(4, -1)[:, :4]}
    assert [value.name for value in half.graph.output] == ["y", "x", "c"]
    for exact, found in zip(outputs(model, feed), outputs(half, feed, optimized=False), strict=True):
        assert np.allclose(exact, found, atol=1e-2)


@pytest.mark.parametrize("strongly_typed", [False, True])
@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("(float[N,8] x) => (float[N,8] y) { a = MatMul(x, tiny) r = Relu(a) y = MatMul(r, large) }", 1e-12),
        ("(float[N,8] x) => (float[N,8] y) { a = MatMul(x, large) r = Relu(a) y = MatMul(r, tiny) }", 1e12),
        ("(float[N,8] x) => (float[N,8] y) { r = Relu(x) y = MatMul(r, large) }", 1.0),
        ("(float[N,8] x) => (float[N,8] y, float[N,8] z) { y = MatMul(x, large) z = Relu(y) }", 1.0),
        ("(float[N,8] x) => (float[N,8] y, float[N,8] z) { y = MatMul(x, large) s = Mul(y, k) z = Tanh(s) }", 1.0),
    ],
    ids=["tiny input", "large input", "large output", "an output read on", "an output read in FP16"],
)
def test_ports_beyond_half_are_not_cast(tmp_path: Path, text: str, size: float, strongly_typed: bool) -> None:
    """What stays in FP32 reads the model's inputs and gives its outputs without a way through FP16."""
    constants = {"tiny": weights(8, 8) * np.float32(1e-4), "large": weights(8, 8) * np.float32(1e7), "k": 1e-6}
    model = network(text, constants)
    x = {"x": (np.random.default_rng(2).normal(size=(6, 8)) * size).astype(np.float32)}
    tensors = [name for node in model.graph.node for name in node.output]
    seen = onnx.ModelProto.FromString(model.SerializeToString())
    del seen.graph.output[:]
    seen.graph.output.extend(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in tensors)
    values = {**x, **dict(zip(tensors, outputs(seen, x), strict=True))}
    ranges = {n: TensorRange(float(np.abs(v).max()), float(v.min()), float(v.max())) for n, v in values.items()}
    half = half_precision(opened(model, tmp_path), strongly_typed, ranges).proto
    onnx.checker.check_model(half, full_check=True)
    for exact, found in zip(outputs(model, x), outputs(half, x, optimized=not strongly_typed), strict=True):
        assert db(exact, found) > 50
