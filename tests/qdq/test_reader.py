"""Q/DQ models of several makers, real ones where they can be made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from quantkit.core.errors import BadInput
from quantkit.core.ranges import TensorRange
from quantkit.formats.imported import Imported
from quantkit.graph.float_tensors import float_tensors
from quantkit.graph.model_file import open_model
from quantkit.qdq.reader import read_qdq
from quantkit.targets.onnxruntime.qdq import quantized_for_onnxruntime
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from tests.conftest import tiny_model

NAMES = ["input", "conv1", "bn1", "relu1", "conv2", "add", "relu2", "pool", "flat", "logits"]
RANGES = {
    name: TensorRange.asymmetric(0.0 if "relu" in name or name in ("pool", "flat") else -1.0 - i / 7, 2.0 + i / 7)
    for i, name in enumerate(NAMES)
}


def read(model: onnx.ModelProto, known: Any = frozenset(NAMES)) -> Imported:
    return read_qdq(onnx.ModelProto.FromString(model.SerializeToString()), "it", Path(), known)


def test_our_tensorrt_dialect(model_path: Path) -> None:
    found = read(quantized_for_tensorrt(open_model(model_path), RANGES).proto)
    assert set(found.ranges) == {"input", "relu1"}
    assert found.symmetric == set(found.ranges)
    for name, range_ in found.ranges.items():
        assert np.float32(range_.amax / 127) == np.float32(RANGES[name].amax / 127)


@pytest.mark.parametrize("known", [frozenset(NAMES), frozenset()])
def test_our_onnxruntime_dialect(model_path: Path, known: frozenset[str]) -> None:
    found = read(quantized_for_onnxruntime(open_model(model_path), RANGES).proto, known)
    assert set(found.ranges) == {"input", "relu1", "conv2"}
    assert not found.symmetric
    for name in set(found.ranges) - {"pool", "flat"}:  # onnxruntime hands those the range of what they pass on
        range_ = found.ranges[name]
        step = (RANGES[name].high - RANGES[name].low) / 255
        assert range_.low == pytest.approx(RANGES[name].low, abs=step)
        assert range_.high == pytest.approx(RANGES[name].high, abs=step)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.batches = iter([{"input": rng.standard_normal((1, 3, 16, 16)).astype(np.float32)} for _ in range(4)])

    def get_next(self) -> Any:
        return next(self.batches, None)


@pytest.mark.parametrize("kind", [QuantType.QInt8, QuantType.QUInt8, QuantType.QInt16])
def test_onnxruntimes_own_quantizer(model_path: Path, tmp_path: Path, kind: QuantType) -> None:
    options = {"UseQDQContribOps": True, "ActivationSymmetric": kind != QuantType.QUInt8}
    output = tmp_path / "q.onnx"
    quantize_static(
        str(model_path), str(output), _Reader(), per_channel=True, activation_type=kind, extra_options=options
    )
    model = onnx.load(str(output))
    found = read(model)
    assert {"input", "relu1", "logits"} <= set(found.ranges) <= set(NAMES)
    assert (found.symmetric == set(found.ranges)) == (kind != QuantType.QUInt8)
    assert 2.5 < found.ranges["input"].amax < 6  # the largest of 3072 normal values
    assert all(range_.amax > 0 for range_ in found.ranges.values())


def test_quantized_operators_are_refused(model_path: Path, tmp_path: Path) -> None:
    quantize_static(str(model_path), str(tmp_path / "q.onnx"), _Reader(), quant_format=QuantFormat.QOperator)
    with pytest.raises(BadInput, match="scales lie inside the operators"):
        read(onnx.load(str(tmp_path / "q.onnx")))


def torch_style(scale: onnx.NodeProto | np.ndarray | None = None, zero: np.ndarray | None = None) -> onnx.ModelProto:
    """As torch exporters write it: QuantizeLinear on the weight, too, and constants in nodes where one is given."""
    zero = np.array(0, np.int8) if zero is None else zero
    constants = [
        numpy_helper.from_array(np.full((4, 3, 1, 1), 0.5, np.float32), "w"),
        numpy_helper.from_array(np.full(4, 0.25, np.float32), "w_scale"),
        numpy_helper.from_array(np.zeros(4, np.int8), "w_zero"),
        numpy_helper.from_array(zero, "zero"),
    ]
    nodes = []
    if isinstance(scale, onnx.NodeProto):
        nodes.append(scale)
    else:
        value = np.array(0.125, np.float32) if scale is None else scale
        constants.append(numpy_helper.from_array(value, "scale"))
    nodes += [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"]),
        helper.make_node("QuantizeLinear", ["w", "w_scale", "w_zero"], ["wq"], axis=0),
        helper.make_node("DequantizeLinear", ["wq", "w_scale", "w_zero"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])


@pytest.mark.parametrize(
    "scale",
    [
        None,
        np.array(0.125, np.float16),
        np.array([0.125], np.float32),
        helper.make_node("Constant", [], ["scale"], value=numpy_helper.from_array(np.array(0.125, np.float16))),
        helper.make_node("Constant", [], ["scale"], value_float=0.125),
        helper.make_node("Constant", [], ["scale"], value_floats=[0.125]),
    ],
)
def test_weights_are_left_out_and_scales_found_wherever_they_are(scale: Any) -> None:
    found = read(torch_style(scale), {"x", "y"})
    assert found.ranges == {"x": TensorRange(127 / 8, -127 / 8, 127 / 8)}
    assert found.symmetric == {"x"}
    assert found.notes == ()


@pytest.mark.parametrize(
    ("zero", "low", "high"),
    [
        (np.array(0, np.uint8), 0.0, 255 / 8),
        (np.array(128, np.uint8), -16.0, 127 / 8),
        (np.array(-128, np.int8), 0.0, 255 / 8),
    ],
)
def test_asymmetric_schemes_give_low_and_high(zero: np.ndarray, low: float, high: float) -> None:
    found = read(torch_style(zero=zero), {"x", "y"})
    assert (found.ranges["x"].low, found.ranges["x"].high) == (low, high)
    assert not found.symmetric


def test_several_scales_of_one_tensor_give_the_widest_and_a_note() -> None:
    model = torch_style()
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array(0.25, np.float32), "wide"))
    graph.node.insert(2, helper.make_node("QuantizeLinear", ["xd", "wide", "zero"], ["xq2"]))  # behind the first pair
    graph.node.insert(3, helper.make_node("DequantizeLinear", ["xq2", "wide", "zero"], ["xd2"]))
    graph.node[-1].input[0] = "xd2"
    for known in ({"x", "y"}, set()):
        found = read(model, known)
        assert set(found.ranges) == {"x"}
        assert found.ranges["x"].amax == 127 / 4
        assert "several scales (x)" in found.notes[0]


def test_a_cast_before_the_pair_is_seen_through_where_the_model_is_known() -> None:
    model = torch_style()
    model.graph.node.insert(0, helper.make_node("Cast", ["x"], ["x_cast"], to=TensorProto.FLOAT))
    model.graph.node[1].input[0] = "x_cast"
    assert set(read(model, {"x", "y"}).ranges) == {"x"}
    assert set(read(model, ()).ranges) == {"x_cast"}


def test_scales_per_channel_and_zero_scales() -> None:
    model = torch_style(np.array([0.125, 0.5, 0.25], np.float32), np.zeros(3, np.int8))
    found = read(model)
    assert found.ranges["x"].amax == 127 / 2
    assert "per channel on activations (x)" in found.notes[0]
    found = read(torch_style(np.array(0, np.float32)))
    assert found.ranges["x"].amax == 2.0**-13
    assert found.dead == ("x",)


def test_computed_scales_are_left_out_and_named() -> None:
    model = torch_style()
    model.graph.node.insert(0, helper.make_node("ReduceMax", ["x"], ["computed"], keepdims=0))
    model.graph.node[1].input[1] = "computed"
    with pytest.raises(BadInput, match="no QuantizeLinear takes an activation"):
        read(model)


@pytest.mark.parametrize("scale", [np.nan, np.inf, -1.0])
def test_scales_that_are_none(scale: float) -> None:
    with pytest.raises(BadInput, match="The scale of 'x' in it is"):
        read(torch_style(np.array(scale, np.float32)))


def test_a_floating_point_model_has_no_ranges() -> None:
    with pytest.raises(BadInput, match="no QuantizeLinear"):
        read(tiny_model())


def test_a_graph_that_goes_in_circles_ends() -> None:
    model = torch_style()
    model.graph.node.insert(0, helper.make_node("Identity", ["b"], ["a"]))
    model.graph.node.insert(1, helper.make_node("Identity", ["a"], ["b"]))
    model.graph.node[2].input[1] = "a"
    with pytest.raises(BadInput):
        read(model)


def test_the_names_that_are_read_are_the_models(model_path: Path) -> None:
    model = open_model(model_path)
    assert set(read(quantized_for_tensorrt(model, RANGES).proto).ranges) <= set(float_tensors(model.graph_only))
