"""Models for strongly typed networks: FP16 throughout, and Q/DQ over FP16."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, shape_inference
from PIL import Image

from quantkit.core.errors import TargetRefuses
from quantkit.core.ranges import TensorRange
from quantkit.graph import save
from quantkit.graph.model_file import open_model
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from quantkit.targets.tensorrt.qdq.strongly_typed import (
    LARGEST_SCALE,
    beyond_scales,
    half_scale,
    quantized_half_precision,
)
from quantkit.transforms.half_precision import beyond_half, half_precision
from tests.conftest import tiny_model
from tests.targets.test_qdq import initializer, ranges_of, sqnr

X = np.random.default_rng(0).standard_normal((8, 3, 16, 16)).astype(np.float32)


# Found with 1.23, the newest for Python 3.10; the models are the same, byte for byte, with every version.
old_onnxruntime = tuple(map(int, ort.__version__.split(".")[:2])) < (1, 24)
exact_half = pytest.mark.skipif(old_onnxruntime, reason="this onnxruntime quantizes FP16 coarsely (29 dB for 48)")


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    return session_of(model).run(None, feed)[0]  # type: ignore[no-any-return]


def session_of(model: onnx.ModelProto) -> ort.InferenceSession:
    """As the graph says: onnxruntime's optimizer quantizes biases by products of FP16 scales, which underflow."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options)


def check(model: onnx.ModelProto, islands: int = 0) -> None:
    """The model is valid, and so many tensors inside it are FP32."""
    onnx.checker.check_model(model, full_check=True)
    inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    ports = {value.name for value in (*model.graph.input, *model.graph.output)}
    float32 = {
        value.name for value in inferred.graph.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    assert len(float32 - ports) == islands, float32 - ports


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "m.onnx")
    return folder / "m.onnx"


def constant(name: str, values: object, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype), name)


def transformer(opset: int, width: int = 32) -> onnx.ModelProto:
    """An encoder layer as exporters decompose it: embeddings, LayerNorm, masked attention, GELU."""
    rng = np.random.default_rng(0)
    shapes = {"wq": (width, width), "wk": (width, width), "wv": (width, width), "w1": (width, 64), "w2": (64, width)}
    weights = [constant(name, rng.standard_normal(shape) * 0.2) for name, shape in shapes.items()]
    text = """
        embedded = Gather(table, ids)
        seen = Cast<to=1>(mask)
        hidden = Sub(one, seen)
        penalty = Mul(hidden, lowest)
        bias = Unsqueeze(penalty, middle)
        mean = ReduceMean<axes=[-1]>(embedded)
        centred = Sub(embedded, mean)
        square = Pow(centred, two)
        variance = ReduceMean<axes=[-1]>(square)
        above = Add(variance, epsilon)
        deviation = Sqrt(above)
        normal = Div(centred, deviation)
        q = MatMul(normal, wq)
        k = MatMul(normal, wk)
        v = MatMul(normal, wv)
        kt = Transpose<perm=[0, 2, 1]>(k)
        scores = MatMul(q, kt)
        scaled = Div(scores, root)
        masked = Add(scaled, bias)
        weights = Softmax<axis=-1>(masked)
        mixed = MatMul(weights, v)
        residual = Add(mixed, embedded)
        wide = MatMul(residual, w1)
        narrow = Div(wide, two)
        erf = Erf(narrow)
        gate = Add(erf, one)
        gelu = Mul(wide, gate)
        out = MatMul(gelu, w2)
    """
    nodes = [onnx.parser.parse_node(line) for line in text.strip().splitlines()]
    nodes.insert(0, helper.make_node("Constant", [], ["root"], value_float=5.6))
    constants = [
        *weights,
        constant("table", rng.standard_normal((100, width))),
        constant("one", 1),
        constant("two", 2),
        constant("lowest", -3.4e38),
        constant("epsilon", 1e-12),
        constant("middle", [1], np.int64),
    ]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", 8]) for name in ("ids", "mask")],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 8, width])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def tokens() -> dict[str, np.ndarray]:
    ids = np.random.default_rng(1).integers(0, 100, (2, 8))
    return {"ids": ids, "mask": (np.arange(8) < [[8], [5]]).astype(np.int64)}


@exact_half
def test_the_tiny_model_in_both_forms(model_path: Path) -> None:
    model = open_model(model_path)
    half = half_precision(model, strongly_typed=True)
    check(half)
    assert half.opset_import[0].version == 13
    assert sqnr(run(model.load(), {"input": X}), run(half, {"input": X})) > 45
    quantized = quantized_for_tensorrt(model, ranges_of(model, {"input": X}))
    before = quantized.SerializeToString()
    typed = quantized_half_precision(quantized)
    check(typed)
    assert quantized.SerializeToString() == before
    assert typed.opset_import[0].version == 19
    assert typed.ir_version >= 9
    assert sqnr(run(quantized, {"input": X}), run(typed, {"input": X})) > 40
    assert [n.op_type for n in typed.graph.node].count("Cast") == 2
    for port in (*typed.graph.input, *typed.graph.output):
        assert port.type.tensor_type.elem_type == TensorProto.FLOAT
    constants = {t.name: t.data_type for t in typed.graph.initializer}
    for node in typed.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert constants[node.input[1]] == TensorProto.FLOAT16
            assert constants[node.input[2]] == TensorProto.INT8
    assert TensorProto.FLOAT not in constants.values()
    assert beyond_scales(typed) == ()


@exact_half
@pytest.mark.parametrize("opset", [13, 15, 17])
def test_a_transformer(opset: int, tmp_path: Path) -> None:
    model = open_model(saved(transformer(opset), tmp_path))
    reference = run(model.load(), tokens())
    half = half_precision(model, strongly_typed=True)
    check(half)
    assert sqnr(reference, run(half, tokens())) > 45
    assert beyond_half(half) == ("Beyond FP16, so cut to ±65504: 1 constants (lowest).",)
    quantized = quantized_for_tensorrt(model, ranges_of(model, tokens()))
    typed = quantized_half_precision(quantized)
    check(typed)
    before, after = (sqnr(reference, run(q, tokens())) for q in (quantized, typed))
    assert before > 25
    assert after > before - 1


def test_a_range_beyond_fp16_ends_where_fp16_does(tmp_path: Path) -> None:
    nodes = ["far = Mul(x, factor)", "both = Concat<axis=1>(far, x)", "out = MatMul(both, first)"]
    graph = helper.make_graph(
        [onnx.parser.parse_node(line) for line in nodes],
        "far",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 16])],
        [constant("factor", -3.4e38), constant("first", np.eye(32, 16))],
    )
    model = open_model(
        saved(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path)
    )
    amax = {"x": 1.0, "far": 3.4e38, "both": 3.4e38, "out": 3.4e38}
    ranges = {name: TensorRange.symmetric(value, -value, value) for name, value in amax.items()}
    typed = quantized_half_precision(quantized_for_tensorrt(model, ranges))
    assert any(note.startswith("Calibrated beyond FP16: ") and "far" in note for note in beyond_scales(typed))
    x = np.zeros((1, 16), np.float32)
    x[0, 1:3] = 1, 0.5
    assert np.allclose(run(typed, {"x": x}), -65504 * x, atol=40)


def test_small_weights_are_quantized_anew_for_the_scale_that_fp16_has(tmp_path: Path) -> None:
    """Scales that FP16 can only hold coarsely, or not at all: no channel is cut, blown up or divided by zero."""
    proto = tiny_model()
    weight = next(t for t in proto.graph.initializer if t.name == "w2")
    values = numpy_helper.to_array(weight) * np.logspace(0, -7, 16, dtype=np.float32).reshape(-1, 1, 1, 1)
    values[5] = 0
    weight.CopyFrom(numpy_helper.from_array(values, "w2"))
    model = open_model(saved(proto, tmp_path))
    typed = quantized_half_precision(quantized_for_tensorrt(model, ranges_of(model, {"input": X})))
    scale = initializer(typed, "w2_scale")
    assert scale.dtype == np.float16
    assert scale.min() > 0
    kept = initializer(typed, "w2_quantized") * scale.astype(np.float64).reshape(-1, 1, 1, 1)
    exact = np.abs(values).max(axis=(1, 2, 3)) / 127
    error = np.abs(kept - values).max(axis=(1, 2, 3))
    # Half a step when the weights were first quantized, 127 roundings of the scale, and where FP16 is coarse half a
    # step of the new scale.
    coarse = scale < np.finfo(np.float16).tiny
    assert (error <= exact * 0.57 + np.where(coarse, scale.astype(np.float64) / 2, 0)).all()
    assert error[coarse].max() > 2.0**-26  # such channels are there


@given(st.floats(1e-12, 1e12, width=64))
def test_a_half_scale_is_close_and_cuts_nothing_off_where_fp16_is_coarse(value: float) -> None:
    (half,) = half_scale(np.array([value]))
    assert np.isfinite(half)
    assert half > 0
    if value > LARGEST_SCALE:
        assert half == LARGEST_SCALE
    elif value < 2.0**-14:
        assert value <= float(half) < value + 2.0**-24
    else:
        assert float(half) == pytest.approx(value, rel=2.0**-11)


@pytest.mark.skipif(old_onnxruntime, reason="this onnxruntime converts ConstantOfShape to types that disagree")
def test_odd_corners(tmp_path: Path) -> None:
    """Resize scales, a Clip's bounds, Casts, a subgraph's constants and an operator without FP16 form."""
    then, other = (
        helper.make_graph(
            [helper.make_node(op, ["r", f"{op}_constant"], [f"{op}_out"])],
            op,
            [],
            [helper.make_tensor_value_info(f"{op}_out", TensorProto.FLOAT, list("abcd"))],
            [constant(f"{op}_constant", 2)],
        )
        for op in ("Mul", "Add")
    )
    text = """
        y = Resize<mode="nearest">(x, , scales)
        clipped = Clip(y, low, high)
        most = Max(clipped, low)
        shape = Shape(most)
        shape32 = Cast<to=1>(shape)
        shape64 = Cast<to=7>(shape32)
        r = Reshape(most, shape64)
        total = ReduceSum<keepdims=0>(r)
        positive = Greater(total, low)
        z = If(positive)
        same = Cast<to=1>(z)
        cumulated = CumSum(same, last)
        zeros = ConstantOfShape(shape)
        out = Concat<axis=1>(cumulated, zeros)
    """
    nodes = [onnx.parser.parse_node(line) for line in text.strip().splitlines()]
    choice = next(node for node in nodes if node.op_type == "If")
    choice.attribute.extend([helper.make_attribute("then_branch", then), helper.make_attribute("else_branch", other)])
    graph = helper.make_graph(
        nodes,
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, list("efgh"))],
        [
            constant("scales", [1, 1, 2, 2]),
            constant("low", -1),
            constant("high", 6),
            constant("last", 3, np.int64),
        ],
    )
    # IR 3 lists weights as inputs, too.
    graph.input.append(helper.make_tensor_value_info("high", TensorProto.FLOAT, []))
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=3)
    model = open_model(saved(proto, tmp_path))
    half = half_precision(model, strongly_typed=True)
    check(half, islands=2)  # CumSum's input and output
    assert [value.name for value in half.graph.input] == ["x"]
    x = {"x": np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)}
    proto.ir_version = 8
    assert sqnr(run(proto, x), run(half, x)) > 45


def test_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    graph = tiny_model().graph
    graph.node[-1].output[0] = "gemm"
    graph.node.append(helper.make_node("CumSum", ["gemm", "axis"], ["logits"]))  # which is in FP32, between casts
    graph.initializer.append(constant("axis", 1, np.int64))
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    model = open_model(tmp_path / "m.onnx")
    half = half_precision(model, strongly_typed=True)
    check(half, islands=2)
    assert sqnr(run(model.load(), {"input": X}), run(half, {"input": X})) > 45


def test_types_that_do_not_agree_are_refused(tmp_path: Path) -> None:
    """FP64 inside an FP32 model is no FP16, and remains what it is."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE),
            helper.make_node("Mul", ["d", "x"], ["out"]),
        ],
        "mixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [4])],
    )
    model = open_model(saved(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), tmp_path))
    with pytest.raises(TargetRefuses, match="FP16"):
        half_precision(model, strongly_typed=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet20", "resnet50"])
def test_real_models(name: str, shared: Path, tmp_path: Path) -> None:
    path = shared / "models" / f"{name}_cifar10.onnx"
    if not path.exists():
        packed = path.with_suffix(".onnx.xz")
        path = tmp_path / path.name
        path.write_bytes(lzma.decompress(packed.read_bytes()))
    model = open_model(path)
    size = model.inputs[0].shape[2]
    assert isinstance(size, int)
    files = sorted((shared / "images" / "cifar10" / "calib").glob("*/*.jpg"))[::150]
    pixels = np.stack([np.asarray(Image.open(f).resize((size, size), Image.Resampling.BILINEAR)) for f in files])
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    images = ((pixels / 255 - mean) / deviation).transpose(0, 3, 1, 2).astype(np.float32)
    # One at a time, for the models' batch may be fixed.
    feeds = [{model.inputs[0].name: image[None]} for image in images]
    ranges = ranges_of(model, *feeds)

    def outputs(proto: onnx.ModelProto) -> np.ndarray:
        session = session_of(proto)
        return np.concatenate([session.run(None, feed)[0] for feed in feeds])

    reference = outputs(model.load())
    half = half_precision(model, strongly_typed=True)
    check(half)
    assert sqnr(reference, outputs(half)) > 45
    quantized = quantized_for_tensorrt(model, ranges)
    typed = quantized_half_precision(quantized)
    check(typed)
    assert beyond_scales(typed) == ()
    before, after = sqnr(reference, outputs(quantized)), sqnr(reference, outputs(typed))
    assert before > 22
    assert after > before - 2


def test_two_models_lie_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save, "LARGEST_SINGLE_FILE", 1000)
    for name in (save.MODEL_FILE, "strongly_typed.onnx"):
        save.save_model(tiny_model(), tmp_path, name)
    names = ["model.onnx", "model.onnx.data", "strongly_typed.onnx", "strongly_typed.onnx.data"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    for name in names[::2]:
        run(onnx.load(tmp_path / name), {"input": X})
