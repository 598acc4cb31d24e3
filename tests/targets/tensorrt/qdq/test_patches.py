"""Convs that cut an image into patches: in floating point where what they give is, in INT8 before a layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.ranges import TensorRange
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import open_model
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from quantkit.targets.tensorrt.qdq.patches import PATCH_CONV, patch_convs

WIDTH = 32


def stem(behind: str, channels: int = 3, kernel: int = 4, stride: int = 4, dilation: int = 1) -> onnx.ModelProto:
    """A Conv on an input of 16×16, one node behind it, and a product that ends it."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal((WIDTH, channels, kernel, kernel)).astype(np.float32), "patch_w"),
        numpy_helper.from_array(rng.standard_normal((WIDTH, WIDTH, 1, 1)).astype(np.float32), "last_w"),
    ]
    nodes = [
        helper.make_node(
            "Conv", ["input", "patch_w"], ["c"], name="patch", strides=[stride] * 2, dilations=[dilation] * 2
        ),
        helper.make_node(behind, ["c"], ["b"], name="behind"),
        helper.make_node("Conv", ["b", "last_w"], ["out"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, channels, 16, 16])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", "c", "h", "w"])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("model", "found"),
    [
        pytest.param(stem("Tanh"), {"patch"}, id="floating point behind it"),
        pytest.param(stem("Relu"), set(), id="a layer reads it through a ReLU"),
        pytest.param(stem("Identity"), set(), id="a layer reads it"),
        pytest.param(stem("Tanh", stride=2), set(), id="patches that overlap"),
        pytest.param(stem("Tanh", kernel=2, stride=2, dilation=2), set(), id="patches with holes"),
        pytest.param(stem("Tanh", channels=16), set(), id="features, not an image"),
        pytest.param(stem("Tanh", kernel=1, stride=1), set(), id="pixels"),
    ],
)
def test_which_convs_cut_an_image(model: onnx.ModelProto, found: set[str]) -> None:
    assert patch_convs(Graph(model.graph)) == found


def test_it_stays_in_floating_point_and_says_why(tmp_path: Path) -> None:
    onnx.save(stem("Tanh"), tmp_path / "m.onnx")
    ranges = {name: TensorRange.symmetric(4.0, -4.0, 4.0) for name in ("input", "c", "b", "out")}
    quantized = quantized_for_tensorrt(open_model(tmp_path / "m.onnx"), ranges)
    inputs = {node.name: list(node.input) for node in quantized.proto.graph.node}
    assert inputs["patch"] == ["input", "patch_w"]
    assert inputs["last"] != ["b", "last_w"]
    reasons = dict(quantized.layers.left)
    assert reasons == {"patch": PATCH_CONV}
