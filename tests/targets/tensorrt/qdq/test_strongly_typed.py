"""Models for strongly typed networks: FP16 throughout, and Q/DQ over FP16."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from quantkit.core.ranges import TensorRange
from quantkit.graph.model_file import open_model
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from quantkit.targets.tensorrt.qdq.strongly_typed import (
    LARGEST_SCALE,
    beyond_scales,
    half_scale,
    quantized_half_precision,
)
from quantkit.transforms.half_precision import half_precision
from tests.conftest import tiny_model
from tests.graphs.halves import (
    check,
    constant,
    exact_half,
    saved,
    tokens,
    transformer,
)
from tests.graphs.quantized import X, initializer, ranges_of, run, session_of, sqnr


@exact_half
def test_the_tiny_model_in_both_forms(model_path: Path) -> None:
    model = open_model(model_path)
    half = half_precision(model, strongly_typed=True)
    check(half.proto)
    assert half.proto.opset_import[0].version == 13
    assert sqnr(run(model.load(), {"input": X}), run(half.proto, {"input": X})) > 45
    quantized = quantized_for_tensorrt(model, ranges_of(model, {"input": X})).proto
    before = quantized.SerializeToString()
    typed = quantized_half_precision(quantized)
    check(typed.proto)
    assert quantized.SerializeToString() == before
    assert typed.proto.opset_import[0].version == 19
    assert typed.proto.ir_version >= 9
    assert sqnr(run(quantized, {"input": X}), run(typed.proto, {"input": X})) > 40
    assert [n.op_type for n in typed.proto.graph.node].count("Cast") == 2
    for port in (*typed.proto.graph.input, *typed.proto.graph.output):
        assert port.type.tensor_type.elem_type == TensorProto.FLOAT
    constants = {t.name: t.data_type for t in typed.proto.graph.initializer}
    for node in typed.proto.graph.node:
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
    check(half.proto, islands=9)  # the normalization, whose epsilon of 1e-12 FP16 does not hold
    assert sqnr(reference, run(half.proto, tokens())) > 45
    kept, cut = half.notes
    assert "epsilon is as small as 1.0e-12" in kept
    assert cut == "Beyond FP16, so cut to ±65504: 1 constants (lowest)."
    quantized = quantized_for_tensorrt(model, ranges_of(model, tokens())).proto
    typed = quantized_half_precision(quantized)
    check(typed.proto, islands=9)
    before, after = (sqnr(reference, run(q, tokens())) for q in (quantized, typed.proto))
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
    typed = quantized_half_precision(quantized_for_tensorrt(model, ranges).proto)
    assert any(note.startswith("Calibrated beyond FP16: ") and "far" in note for note in beyond_scales(typed))
    x = np.zeros((1, 16), np.float32)
    x[0, 1:3] = 1, 0.5
    assert np.allclose(run(typed.proto, {"x": x}), np.where(x > 0, -65504, 0), atol=40)  # both are far beyond it


def test_small_weights_are_quantized_anew_for_the_scale_that_fp16_has(tmp_path: Path) -> None:
    """Scales that FP16 can only hold coarsely, or not at all: no channel is cut, blown up or divided by zero."""
    proto = tiny_model()
    weight = next(t for t in proto.graph.initializer if t.name == "w2")
    values = numpy_helper.to_array(weight) * np.logspace(0, -7, 16, dtype=np.float32).reshape(-1, 1, 1, 1)
    values[5] = 0
    weight.CopyFrom(numpy_helper.from_array(values, "w2"))
    model = open_model(saved(proto, tmp_path))
    typed = quantized_half_precision(quantized_for_tensorrt(model, ranges_of(model, {"input": X})).proto)
    scale = initializer(typed.proto, "w2_scale")
    assert scale.dtype == np.float16
    assert scale.min() > 0
    kept = initializer(typed.proto, "w2_quantized") * scale.astype(np.float64).reshape(-1, 1, 1, 1)
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
    check(half.proto)
    assert sqnr(reference, outputs(half.proto)) > 45
    quantized = quantized_for_tensorrt(model, ranges).proto
    typed = quantized_half_precision(quantized)
    check(typed.proto)
    assert beyond_scales(typed) == ()
    before, after = sqnr(reference, outputs(quantized)), sqnr(reference, outputs(typed.proto))
    assert before > 22
    assert after > before - 2
