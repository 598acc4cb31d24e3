"""FP16 models with FP32 inputs and outputs, and what is hard to convert."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from quantkit.core.errors import TargetRefuses
from quantkit.graph.model_file import open_model
from quantkit.transforms.half_precision import half_precision
from tests.conftest import tiny_model
from tests.graphs.halves import (
    check,
    constant,
    old_onnxruntime,
    saved,
)
from tests.graphs.plugins import network
from tests.graphs.quantized import X, run, sqnr
from tests.graphs.small import opened, weights


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
    half = half_precision(model, strongly_typed=True).proto
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
    half = half_precision(model, strongly_typed=True).proto
    check(half, islands=1)
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


def test_the_model_for_onnxruntime_is_valid_too(model_path: Path) -> None:
    model = open_model(model_path)
    half = half_precision(model).proto
    onnx.checker.check_model(half, full_check=True)
    assert sqnr(run(model.load()), run(half)) > 45


def test_max_and_min_stay_in_fp32_for_onnxruntime_alone(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 13]> g (float[4] x) => (float[4] out) <float[1] low = {-1}> {
        a = Abs (x)
        b = Max (a, low)
        out = Neg (b)
    }"""
    model = open_model(saved(onnx.parser.parse_model(text), tmp_path))
    for strongly_typed, casts in ((False, 4), (True, 2)):
        half = half_precision(model, strongly_typed).proto
        assert [node.op_type for node in half.graph.node].count("Cast") == casts


def test_a_plugin_stays_in_fp32_and_gives_integers_to_those_who_read_them(tmp_path: Path) -> None:
    text = """(float[N,4] x) => (float[N,4] y) {
      a = Mul (x, two)  rows, best, count = acme.Top (a)  picked = Gather (rows, best)
      n = Cast <to = 1> (count)  y = Mul (picked, n)
    }"""
    onnx.save(network(text, {"two": np.float32([2])}, "acme"), tmp_path / "m.onnx")
    half = half_precision(open_model(tmp_path / "m.onnx"), strongly_typed=True).proto
    casts = {node.input[0]: node.output[0] for node in half.graph.node if node.op_type == "Cast"}
    (plugin,) = [node for node in half.graph.node if node.op_type == "Top"]
    (gather,) = [node for node in half.graph.node if node.op_type == "Gather"]
    assert list(plugin.input) == [casts["a"]]
    assert list(gather.input) == [casts[plugin.output[0]], "best"]
    assert list(plugin.output[1:]) == ["best", "count"]


def test_what_onnxruntime_computes_is_no_plugin(tmp_path: Path) -> None:
    """An RMSNorm as onnxruntime's optimizer writes it, without a domain, is an operator that ONNX does not know."""
    text = """(float[N,8] x) => (float[N,8] y) {
      n = SimplifiedLayerNormalization <axis: int = -1, epsilon: float = 0.00001> (x, s)
      y = MatMul (n, w)
    }"""
    half = half_precision(opened(network(text, {"s": np.ones(8, np.float32), "w": weights(8, 8)}), tmp_path)).proto
    assert {tensor.data_type for tensor in half.graph.initializer} == {onnx.TensorProto.FLOAT16}
