"""Where ONNX Runtime's dialect places pairs: where an integer kernel gains by them, and nowhere else."""

from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import quantkit as qk
from tests.graphs.small import calibrated, db, network, outputs, paired, quantized, weights

RNG = np.random.default_rng(3)
IMAGES = RNG.normal(0, 1, (60, 16, 8, 8)).astype(np.float32)
TOKENS = RNG.normal(0, 1, (60, 8, 32)).astype(np.float32)
KINDS = {"images": ("[N,16,8,8]", IMAGES), "tokens": ("[N,8,32]", TOKENS)}


def made(text: str, constants: dict[str, object], folder: Path, x: np.ndarray, opset: int = 17) -> tuple:
    """The original, its ONNX Runtime INT8 model, and its SQNR by output as onnxruntime runs it."""
    model = network(text, constants, opset)
    found = quantized(calibrated(model, {"x": x}, folder))
    onnx.checker.check_model(found.proto, full_check=True)
    feed = {"x": x[:8]}
    ratios = [db(a, b) for a, b in zip(outputs(model, feed), outputs(found.proto, feed), strict=True)]
    return model, found, ratios


def kernels(model: onnx.ModelProto, folder: Path) -> collections.Counter[str]:
    """The operators that onnxruntime makes of a model."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(model.SerializeToString(), options)
    return collections.Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)


RESIDUAL = """(float[N,16,8,8] x) => (float[N,16,8,8] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1, b1)
    r = Relu(a)
    b = Conv<pads=[1,1,1,1]>(r, w2, b2)
    s = Add(b, r)
    t = Relu(s)
    p = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(t)
    y = Conv(p, w3)
}"""


def test_a_residual_block_is_computed_in_integers_throughout(tmp_path: Path) -> None:
    constants = {"w1": weights(16, 16, 3, 3), "b1": RNG.normal(0, 0.1, 16), "w2": weights(16, 16, 3, 3),
                 "b2": RNG.normal(0, 0.1, 16), "w3": weights(16, 16, 1, 1)}  # fmt: skip
    _, found, ratios = made(RESIDUAL, constants, tmp_path, IMAGES)
    assert found.layers.quantized == found.layers.total == 3
    run = kernels(found.proto, tmp_path)
    assert (run["QLinearConv"], run["QLinearAdd"], run["Conv"] + run["Add"]) == (3, 1, 0)
    assert ratios[0] > 30


# Rounding ruins, or buys nothing, in each of these: the values after the layer, and what must not be rounded.
RUINS = {
    "a detector's boxes and scores": ("images", """{
        b = Conv(x, w)  bs = Sigmoid(b)  boxes = Mul(bs, k640)
        c = Conv(x, v)  scores = Sigmoid(c)
        cat = Concat<axis=1>(boxes, scores)  y = Reshape(cat, flat)
    }""", {"boxes", "scores", "cat", "y"}),
    "boxes and scores in the other order, transposed": ("images", """{
        c = Conv(x, v)  scores = Sigmoid(c)  b = Conv(x, w)  boxes = Mul(b, k640)
        cat = Concat<axis=1>(scores, boxes)  t = Transpose<perm=[0,2,3,1]>(cat)  y = Identity(t)
    }""", {"scores", "cat", "t", "y"}),  # the factor is folded into the Conv of the boxes
    "a normalization, spelled out": ("tokens", """{
        h = MatMul(x, m)  mean = ReduceMean<axes=[-1]>(h)  d = Sub(h, mean)  q = Mul(d, d)
        var = ReduceMean<axes=[-1]>(q)  e = Add(var, eps)  s = Sqrt(e)  n = Div(d, s)  y = MatMul(n, o)
    }""", {"mean", "d", "q", "var", "e", "s"}),
    "an RMS normalization": ("tokens", """{
        h = MatMul(x, m)  q = Mul(h, h)  var = ReduceMean<axes=[-1]>(q)  e = Add(var, eps)  s = Sqrt(e)
        i = Reciprocal(s)  n = Mul(h, i)  y = MatMul(n, o)
    }""", {"q", "var", "e", "s", "i"}),
    "a mask of -1e9 before Softmax": ("tokens", """{
        q = MatMul(x, m)  k = MatMul(x, o)  kt = Transpose<perm=[0,2,1]>(k)  z = MatMul(q, kt)
        masked = Add(z, big)  a = Softmax<axis=2>(masked)  y = MatMul(a, x)
    }""", {"z", "masked"}),
    "the lowest float before Softmax": ("tokens", """{
        q = MatMul(x, m)  k = MatMul(x, o)  kt = Transpose<perm=[0,2,1]>(k)  z = MatMul(q, kt)
        masked = Where(seen, z, lowest)  a = Softmax<axis=2>(masked)  y = MatMul(a, x)
    }""", {"z", "masked"}),
    "padding with -1e9 before MaxPool": ("images", """{
        c = Conv(x, w16)  p = Pad(c, pads, far)  m1 = MaxPool<kernel_shape=[3,3]>(p)  y = Conv(m1, v16)
    }""", {"p"}),
    "operators that only move values before floats": ("images", """{
        c = Conv(x, w16)  t = Transpose<perm=[0,2,3,1]>(c)  f = Reshape(t, flat)  y = Softmax<axis=1>(f)
    }""", {"t", "f", "y"}),
}  # fmt: skip
CONSTANTS = {
    "w": weights(4, 16, 1, 1), "v": 4 * weights(8, 16, 1, 1), "w16": weights(16, 16, 1, 1),
    "v16": weights(16, 16, 1, 1), "m": weights(32, 32), "o": weights(32, 32), "k640": 640.0, "eps": 1e-5,
    "flat": np.array([0, -1]),
    "big": np.triu(np.full((8, 8), -1e9), 1), "lowest": np.finfo(np.float32).min,
    "seen": np.tril(np.ones((8, 8), bool)), "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "far": -1e9,
}  # fmt: skip


@pytest.mark.parametrize("case", RUINS)
def test_what_rounding_would_ruin_is_not_rounded(tmp_path: Path, case: str) -> None:
    kind, body, floats = RUINS[case]
    shape, x = KINDS[kind]
    constants = {name: own for name, own in CONSTANTS.items() if f"{name})" in body or f"{name}," in body}
    text = f"(float{shape} x) => (float[N,?,?,?] y) {body}".replace("[N,?,?,?]", "[N, h]" if "flat" in body else shape)
    if "t = Transpose" in body and "y = Identity" in body:
        text = text.replace("(float[N,16,8,8] y)", "(float[N,8,8,12] y)")
    _, found, ratios = made(text, constants, tmp_path, x)
    assert not paired(found.proto) & floats
    assert found.layers.quantized >= 1
    assert ratios[0] > 28, ratios


def test_scores_of_a_detector_are_as_good_as_its_boxes(tmp_path: Path) -> None:
    _, body, _ = RUINS["a detector's boxes and scores"]
    constants = {name: CONSTANTS[name] for name in ("w", "v", "k640", "flat")}
    model = network(f"(float[N,16,8,8] x) => (float[N, h] y) {body}", constants)
    found = quantized(calibrated(model, {"x": IMAGES}, tmp_path)).proto
    exact, rounded = (outputs(m, {"x": IMAGES[:8]})[0].reshape(8, 12, 64) for m in (model, found))
    assert db(exact[:, 4:], rounded[:, 4:]) > 30


def test_a_relu_whose_input_is_used_elsewhere_stays(tmp_path: Path) -> None:
    text = """(float[N,16,8,8] x) => (float[N,16,8,8] y, float[N,16,8,8] c) {
        c = Conv(x, w16)  r = Relu(c)  y = Conv(r, v16)
    }"""
    model, found, ratios = made(text, {name: CONSTANTS[name] for name in ("w16", "v16")}, tmp_path, IMAGES)
    assert min(ratios) > 30
    lowest = [outputs(m, {"x": IMAGES[:8]})[1].min() for m in (model, found.proto)]
    assert lowest[1] == pytest.approx(lowest[0], rel=0.2)


def test_a_clip_that_an_if_reads_stays(tmp_path: Path) -> None:
    text = """(float[N,16,8,8] x) => (float[N,16,8,8] y, float[N,16,8,8] z) {
        c = Conv(x, w16)  r = Clip(c, zero, six)  y = Conv(r, v16)
        z = If(yes) <then_branch = a () => (float[N,16,8,8] p) { p = Neg(r) },
                     else_branch = b () => (float[N,16,8,8] q) { q = Abs(c) }>
    }"""
    constants = {"w16": CONSTANTS["w16"], "v16": CONSTANTS["v16"], "zero": 0.0, "six": 6.0, "yes": np.array(True)}
    model, found, ratios = made(text, constants, tmp_path, IMAGES)
    assert min(ratios) > 28
    assert outputs(found.proto, {"x": IMAGES[:8]})[1].max() <= 0 == outputs(model, {"x": IMAGES[:8]})[1].max()


def test_a_clip_narrower_than_its_range_stays(tmp_path: Path) -> None:
    """Ranges of another tool's may be wider than the Clip, and would let larger values through."""
    text = "(float[N,16,8,8] x) => (float[N,16,8,8] y) { c = Conv(x, w16)  r = Clip(c, zero, half)  y = Conv(r, v16) }"
    constants = {"w16": CONSTANTS["w16"], "v16": CONSTANTS["v16"], "zero": 0.0, "half": 0.5}
    calibration = calibrated(network(text, constants), {"x": IMAGES}, tmp_path)
    own = calibration.tensors["r"]
    wide = own.model_copy(update={"amax": 4.0, "low": 0.0, "high": 4.0})
    changed = calibration.model_copy(update={"tensors": {**calibration.tensors, "r": wide}})
    assert any(node.op_type == "Clip" for node in quantized(changed).proto.graph.node)
    assert not any(node.op_type == "Clip" for node in quantized(calibration).proto.graph.node)


def test_one_weight_along_two_axes(tmp_path: Path) -> None:
    text = """(float[N,8,32] x) => (float[N,8,32] y) {
        a = MatMul(x, m)  f = Reshape(a, rows)  g = Gemm<transB=1>(f, m)  y = Reshape(g, back)
    }"""
    constants = {
        "m": weights(32, 32) * np.exp(RNG.normal(0, 1, (32, 1))), "rows": np.array([-1, 32]),
        "back": np.array([-1, 8, 32]),
    }  # fmt: skip
    _, found, ratios = made(text, constants, tmp_path, TOKENS)
    assert found.layers.quantized == 2
    assert ratios[0] > 28


@pytest.mark.parametrize("shape", [(24,), (1, 24), (1,), ()])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 2.0), (0.5, 1.0), (0.25, 3.0)])
def test_gemms_with_factors_and_biases_of_any_shape(
    tmp_path: Path, shape: tuple[int, ...], alpha: float, beta: float
) -> None:
    text = (
        f"(float[N,32] x) => (float[N,24] y) {{ a = Gemm<transB=1, alpha={alpha}, beta={beta}>(x, k, c)  y = Relu(a) }}"
    )
    constants = {"k": weights(24, 32), "c": RNG.normal(0, 1, shape) if shape else 0.7}
    x = RNG.normal(0, 1, (80, 32)).astype(np.float32)
    _, found, ratios = made(text, constants, tmp_path, x)
    assert found.layers.quantized == 1
    assert ratios[0] > 27
    assert kernels(found.proto, tmp_path)["QGemm"] == 1


@pytest.mark.parametrize("first", ["x", "x_scale", "x_quantized", "x_dequantized", "x_zero_point"])
def test_the_models_own_names_are_never_taken(tmp_path: Path, first: str) -> None:
    text = f"""(float[N,16,8,8] x) => (float[N,16,8,8] y) {{
        {first if first != "x" else "r"} = Conv(x, w16)
        y = Conv({first if first != "x" else "r"}, v16)
    }}"""
    _, found, ratios = made(text, {name: CONSTANTS[name] for name in ("w16", "v16")}, tmp_path, IMAGES)
    assert found.layers.quantized == 2
    assert ratios[0] > 30


def test_a_grouped_transposed_conv_with_bias_keeps_its_values(tmp_path: Path) -> None:
    text = """(float[N,16,8,8] x) => (float[N,32,8,8] y) {
        c = Conv(x, w16)  y = ConvTranspose<group=4, pads=[1,1,1,1]>(c, t, b)
    }"""
    constants = {"w16": CONSTANTS["w16"], "t": weights(16, 8, 3, 3), "b": RNG.normal(0, 0.2, 32)}
    for opset in (13, 17):
        _, found, ratios = made(text, constants, tmp_path, IMAGES, opset)
        assert found.layers.left == {"ConvTranspose_1": "onnxruntime has no integer kernel for ConvTranspose"}
        assert ratios[0] > 34


def test_a_gate_that_is_closed_gives_its_steps_to_what_it_lets_through(tmp_path: Path) -> None:
    text = """(float[N,16,8,8] x) => (float[N,16,8,8] y) {
        c = Conv(x, w16, low)  h = HardSigmoid<alpha=0.16666667, beta=0.5>(c)  g = Mul(c, h)  y = Conv(g, v16)
    }"""
    constants = {"w16": CONSTANTS["w16"], "v16": CONSTANTS["v16"], "low": np.where(np.arange(16) < 2, -60.0, 0.0)}
    _, found, ratios = made(text, constants, tmp_path, IMAGES)
    scales = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in found.proto.graph.initializer}
    assert float(scales["c_scale"]) < 0.05  # the range begins at -3, where the gate closes, not at -60
    assert ratios[0] > 28


def test_a_bias_much_larger_than_its_weights_does_not_overflow(tmp_path: Path) -> None:
    text = "(float[N,16,8,8] x) => (float[N,16,8,8] y) { c = Conv(x, k, b)  y = Relu(c) }"
    k = weights(16, 16, 1, 1)
    k[3] *= 1e-9
    b = np.full(16, 1.0)
    b[3] = 50.0
    _, found, ratios = made(text, {"k": k, "b": b}, tmp_path, IMAGES)
    assert found.layers.quantized == 1
    assert ratios[0] > 34


@pytest.mark.parametrize("stack", [(1,), (4,), (1, 4), (2, 4)])
@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_a_stack_of_matrices_as_weight(tmp_path: Path, stack: tuple[int, ...], target: str) -> None:
    """What runtimes refuse, or compute wrongly, in INT8 stays in floating point; the export runs its own files."""
    if target == "openvino":
        pytest.importorskip("openvino")
    text = "(float[N,4,6,32] x) => (float[a,b,c,d] y) { p = MatMul(x, w) r = Relu(p) y = MatMul(r, v) }"
    if len(stack) > 1 and stack[0] > 1:
        text = text.replace("[N,4,6,32] x", "[N,2,4,6,32] x").replace("[a,b,c,d]", "[a,b,c,d,e]")
    constants = {"w": weights(*stack, 32, 32, gain=8), "v": weights(*stack, 32, 16, gain=8)}
    model = network(text, constants)
    shape = [dimension.dim_value or 24 for dimension in model.graph.input[0].type.tensor_type.shape.dim]
    calibration = calibrated(model, {"x": RNG.normal(size=shape).astype(np.float32)}, tmp_path)
    (artifact,) = qk.export(calibration, target, precisions=("int8",), output=tmp_path / "out")
    assert not [note for note in artifact.notes if "dB from FP32" in note]
    assert artifact.layers is not None
    if target == "onnxruntime" or max(stack) > 1:
        assert set(artifact.layers.left.values()) == {"its weight is a stack of matrices"}


@pytest.mark.parametrize("dialect", ["onnxruntime", "tensorrt"])
def test_a_weight_as_the_left_factor_is_said(tmp_path: Path, dialect: str) -> None:
    model = network("(float[N,32,20] x) => (float[N,32,20] y) { y = MatMul(w, x) }", {"w": weights(32, 32)})
    calibration = calibrated(model, {"x": RNG.normal(size=(8, 32, 20)).astype(np.float32)}, tmp_path)
    assert list(quantized(calibration, dialect).layers.left.values()) == ["its weight is the left factor"]
