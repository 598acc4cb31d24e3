"""Which sums of a model get Q/DQ pairs for TensorRT: a residual that fuses with its Conv, and none of attention's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.ranges import TensorRange
from quantkit.graph.model_file import open_model
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from tests.graphs.blocks import block, conv
from tests.graphs.quantized import dequantized_inputs, quantized_block

LENGTH, WIDTH = 8, 16


def attention() -> onnx.ModelProto:
    """A transformer's layer as exporters write it: scaled scores, a mask, softmax, a residual before the norm."""
    rng = np.random.default_rng(0)
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "wq"], ["q"], name="q"),
        node("MatMul", ["x", "wk"], ["k"], name="k"),
        node("Transpose", ["k"], ["kt"], name="kt", perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["scores"], name="scores"),
        node("Mul", ["scores", "factor"], ["scaled"], name="scaled"),
        node("Add", ["scaled", "mask"], ["masked"], name="masked"),
        node("Softmax", ["masked"], ["shares"], name="shares", axis=-1),
        node("MatMul", ["shares", "x"], ["context"], name="context"),
        node("MatMul", ["context", "wo"], ["projected"], name="projected"),
        node("Add", ["projected", "bo"], ["dense"], name="dense"),
        node("Add", ["dense", "x"], ["residual"], name="residual"),
        node("LayerNormalization", ["residual", "one", "zero"], ["normed"], name="normed"),
        node("MatMul", ["normed", "wf"], ["out"], name="out"),
    ]
    weights = [
        numpy_helper.from_array((rng.standard_normal((WIDTH, WIDTH)) * 0.2).astype(np.float32), name)
        for name in ("wq", "wk", "wo", "wf")
    ]
    weights += [
        numpy_helper.from_array(np.float32(0.25), "factor"),
        numpy_helper.from_array(np.ones(WIDTH, np.float32), "one"),
        *(numpy_helper.from_array(np.zeros(WIDTH, np.float32), name) for name in ("zero", "bo")),
    ]
    inputs = {"x": [1, LENGTH, WIDTH], "mask": [1, LENGTH, LENGTH]}
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, LENGTH, WIDTH])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def quantized(tmp_path: Path) -> onnx.ModelProto:
    """With a range for every tensor, so that nothing but the rules keeps a pair away."""
    model = attention()
    onnx.save(model, tmp_path / "m.onnx")
    names = [name for node in model.graph.node for name in node.output] + ["x", "mask"]
    placed = quantized_for_tensorrt(
        open_model(tmp_path / "m.onnx"), {n: TensorRange.symmetric(4.0, -4.0, 4.0) for n in names}
    ).proto
    onnx.checker.check_model(placed, full_check=True)
    return placed


def test_a_mask_before_softmax_gets_no_pair(quantized: onnx.ModelProto) -> None:
    assert dequantized_inputs(quantized, "masked") == [False, False]
    assert dequantized_inputs(quantized, "shares") == [False]


def test_a_residual_before_layer_normalization_gets_no_pair(quantized: onnx.ModelProto) -> None:
    assert dequantized_inputs(quantized, "residual") == [False, False]
    assert dequantized_inputs(quantized, "normed") == [False, False, False]


def test_a_bias_gets_no_pair(quantized: onnx.ModelProto) -> None:
    assert dequantized_inputs(quantized, "dense") == [False, False]


def test_the_matrix_products_around_them_are_quantized(quantized: onnx.ModelProto) -> None:
    for name in ("q", "k", "projected", "out"):
        assert dequantized_inputs(quantized, name) == [True, True]


def test_products_of_two_activations_are_quantized(quantized: onnx.ModelProto) -> None:
    """Left in floating point they made INT8 of a BERT-Base slower than FP16 on an H200."""
    for name in ("scores", "context"):
        assert dequantized_inputs(quantized, name) == [True, True]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_conv_and_its_residual_keep_the_pair_on_the_skip_alone(tmp_path: Path, swapped: bool) -> None:
    inputs = ["skip", "main"] if swapped else ["main", "skip"]
    placed, _ = quantized_block(
        block(
            helper.make_node("Relu", ["input"], ["skip"], name="skip"),
            conv("skip", "w0", "main"),
            helper.make_node("Add", inputs, ["sum"], name="sum"),
            helper.make_node("Relu", ["sum"], ["out"], name="last"),  # whatever follows it
        ),
        tmp_path,
    )
    assert dequantized_inputs(placed, "sum") == [name == "skip" for name in inputs]


@pytest.mark.parametrize("follower", ["Conv", "Sigmoid"])
def test_a_sum_without_a_conv_is_quantized_where_all_that_takes_it_is(tmp_path: Path, follower: str) -> None:
    last = conv("sum", "w0", "out") if follower == "Conv" else helper.make_node("Sigmoid", ["sum"], ["out"], name="out")
    placed, _ = quantized_block(
        block(
            helper.make_node("Relu", ["input"], ["a"], name="a"),
            helper.make_node("Sigmoid", ["input"], ["b"], name="b"),
            helper.make_node("Add", ["a", "b"], ["sum"], name="sum"),
            last,
        ),
        tmp_path,
    )
    assert dequantized_inputs(placed, "sum") == [follower == "Conv"] * 2
