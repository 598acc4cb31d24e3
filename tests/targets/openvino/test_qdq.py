"""Where OpenVINO's pairs go, and that they are what its kernels take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.ranges import TensorRange
from quantkit.graph.model_file import open_model
from quantkit.qdq.insertion import affine
from quantkit.targets.openvino import qdq as qdq_openvino
from quantkit.targets.openvino.qdq import quantized_for_openvino

RNG = np.random.default_rng(0)


def opened(tmp_path: Path, nodes: list[onnx.NodeProto], shape: list[int], **constants: np.ndarray) -> onnx.ModelProto:
    """The model quantized, every activation in -2..2."""
    names = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", shape), ("y", None))]
    tensors = [numpy_helper.from_array(a.astype(np.float32), name) for name, a in constants.items()]
    graph = helper.make_graph(nodes, "g", names[:1], names[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    tensors_of = ["x", *(name for node in nodes for name in node.output)]
    return quantized_for_openvino(
        open_model(tmp_path / "m.onnx"), dict.fromkeys(tensors_of, TensorRange(2, -2, 2))
    ).proto


def quantized(model: onnx.ModelProto) -> dict[str, np.dtype]:
    """The tensors that a QuantizeLinear takes, and the type it makes of each."""
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    return {n.input[0]: constants[n.input[2]].dtype for n in model.graph.node if n.op_type == "QuantizeLinear"}


def conv(name: str, source: str, weight: str) -> onnx.NodeProto:
    pads = [1, 1, 1, 1] if weight != "w7" else [3, 3, 3, 3]
    return helper.make_node("Conv", [source, weight], [name], name=name, pads=pads)


def test_the_first_conv_of_an_image_keeps_floating_point_and_the_next_does_not(tmp_path: Path) -> None:
    nodes = [conv("c", "x", "w3"), helper.make_node("Relu", ["c"], ["r"], name="r"), conv("y", "r", "w")]
    weights = {"w3": RNG.standard_normal((16, 3, 3, 3)), "w": RNG.standard_normal((16, 16, 3, 3))}
    found = quantized(opened(tmp_path, nodes, [1, 3, 8, 8], **weights))
    assert found == {"r": np.dtype(np.uint8)}


def test_the_first_conv_of_a_large_image_is_quantized(tmp_path: Path) -> None:
    weight = RNG.standard_normal((16, 3, 3, 3))
    assert quantized(opened(tmp_path, [conv("y", "x", "w3")], [1, 3, 224, 224], w3=weight)) == {"x": np.dtype(np.uint8)}


def test_a_first_conv_of_many_products_is_quantized(tmp_path: Path) -> None:
    found = quantized(opened(tmp_path, [conv("y", "x", "w7")], [1, 3, 8, 8], w7=RNG.standard_normal((16, 3, 7, 7))))
    assert found == {"x": np.dtype(np.uint8)}


@pytest.mark.parametrize(
    ("side", "relu", "rounded"),
    [(8, True, {"r"}), (64, True, {"c", "r"}), (8, False, {"a"}), (64, False, {"c", "a"})],
)
def test_a_small_sum_is_not_rounded_and_others_are_fused(
    tmp_path: Path, side: int, relu: bool, rounded: set[str]
) -> None:
    nodes = [conv("s", "x", "w7"), conv("c", "s", "w"), helper.make_node("Add", ["c", "s"], ["a"], name="a")]
    nodes += [helper.make_node("Relu", ["a"], ["r"], name="r")] if relu else []
    nodes.append(conv("y", "r" if relu else "a", "w"))
    weights = {"w7": RNG.standard_normal((16, 3, 7, 7)), "w": RNG.standard_normal((16, 16, 3, 3))}
    found = quantized(opened(tmp_path, nodes, [1, 3, side, side], **weights))
    assert set(found) == {"x", "s"} | rounded


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def pooled(tmp_path: Path, *more: onnx.NodeProto) -> onnx.ModelProto:
    pool = helper.make_node("MaxPool", ["c"], ["p"], name="p", kernel_shape=[2, 2], strides=[2, 2])
    weights = {"w7": RNG.standard_normal((16, 3, 7, 7)), "w": RNG.standard_normal((16, 16, 3, 3))}
    return opened(tmp_path, [conv("c", "x", "w7"), pool, conv("y", "p", "w"), *more], [1, 3, 8, 8], **weights)


def test_a_pair_goes_before_the_pool_and_changes_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = RNG.bit_generator.state
    before = pooled(tmp_path)
    RNG.bit_generator.state = weights
    monkeypatch.setattr(qdq_openvino, "pair_before_pools", lambda placement: None)
    behind = pooled(tmp_path)
    assert (set(quantized(before)), set(quantized(behind))) == ({"x", "c"}, {"x", "p"})
    x = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(run(before, x), run(behind, x))


def test_what_others_take_whole_is_not_rounded_for_the_pool(tmp_path: Path) -> None:
    assert set(quantized(pooled(tmp_path, helper.make_node("Relu", ["c"], ["r"], name="r")))) == {"x", "p"}


def test_the_pair_stays_behind_a_pool_whose_indices_are_used(tmp_path: Path) -> None:
    """Rounding makes ties, so that the indices of rounded values are others."""
    pool = helper.make_node("MaxPool", ["c"], ["p", "i"], name="p", kernel_shape=[2, 2], strides=[2, 2])
    weights = {"w7": RNG.standard_normal((16, 3, 7, 7)), "w": RNG.standard_normal((16, 16, 3, 3))}
    nodes = [conv("c", "x", "w7"), pool, conv("y", "p", "w"), helper.make_node("Cast", ["i"], ["where"], to=1)]
    model = opened(tmp_path, nodes, [1, 3, 8, 8], **weights)
    assert set(quantized(model)) == {"x", "p"}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ("c", "i"))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    x = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    c, indices = session.run(["c", "i"], {"x": x})
    windows = c.reshape(16, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(16, 4, 4, 4)
    np.testing.assert_array_equal(c.reshape(-1)[indices[0]], windows.max(axis=-1))


def test_products_of_activations_have_no_zero_point_and_their_pairs_go_before_the_transpose(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "wq"], ["q"], name="q"),
        helper.make_node("MatMul", ["x", "wk"], ["k"], name="k"),
        helper.make_node("Transpose", ["k"], ["t"], name="t", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "t"], ["y"], name="y"),
    ]
    weights = {name: RNG.standard_normal((32, 32)) for name in ("wq", "wk")}
    found = quantized(opened(tmp_path, nodes, [1, 16, 32], **weights))
    assert found == {"x": np.dtype(np.uint8), "q": np.dtype(np.int8), "k": np.dtype(np.int8)}


def test_zero_is_a_point_of_the_grid() -> None:
    for low, high in ((-1.0, 3.0), (0.0, 6.0), (-2.0, 0.0), (-1e-30, 0.0)):
        scale, zero_point = affine(TensorRange(3, low, high))
        assert scale > 0
        grid = (np.arange(256) - int(zero_point)) * scale
        assert 0 in grid
        assert grid[0] <= low + scale
        assert grid[-1] >= high - scale
