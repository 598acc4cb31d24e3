from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.graph.model_file import open_model
from quantkit.transforms.prepare import prepared
from tests.conftest import tiny_model

X = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)


def all_outputs(model: onnx.ModelProto) -> list[np.ndarray]:
    return ort.InferenceSession(model.SerializeToString()).run(None, {"input": X})  # type: ignore[no-any-return]


def outputs(model: onnx.ModelProto) -> np.ndarray:
    return all_outputs(model)[0]


@pytest.mark.parametrize("opset", [11, 12, 13, 17])
def test_preparing_keeps_the_outputs(tmp_path: Path, opset: int) -> None:
    original = tiny_model(opset=opset)
    onnx.save(original, tmp_path / "m.onnx")
    ready = prepared(open_model(tmp_path / "m.onnx"))
    onnx.checker.check_model(ready)
    assert ready.opset_import[0].version == max(opset, 13)
    assert np.allclose(outputs(ready), outputs(original), rtol=1e-4, atol=1e-5)


def test_batch_norm_is_folded_under_its_own_output_name(model_path: Path) -> None:
    ready = prepared(open_model(model_path))
    assert [n.op_type for n in ready.graph.node if n.op_type == "BatchNormalization"] == []
    assert [n.output[0] for n in ready.graph.node if n.op_type == "Conv"] == ["bn1", "conv2"]


def test_a_conv_that_others_read_keeps_its_batch_norm(tmp_path: Path) -> None:
    model = tiny_model()
    next(n for n in model.graph.node if n.name == "add").input[1] = "conv1"
    onnx.save(model, tmp_path / "m.onnx")
    ready = prepared(open_model(tmp_path / "m.onnx"))
    assert [n.op_type for n in ready.graph.node if n.op_type == "BatchNormalization"] == ["BatchNormalization"]
    assert np.allclose(outputs(ready), outputs(model), rtol=1e-4, atol=1e-5)


def test_a_batch_norm_in_training_normalizes_by_its_batch_and_is_not_folded(tmp_path: Path) -> None:
    model = tiny_model(opset=15)
    norm = next(node for node in model.graph.node if node.op_type == "BatchNormalization")
    norm.attribute.append(helper.make_attribute("training_mode", 1))
    norm.output.extend(["running_mean", "running_var"])
    onnx.save(model, tmp_path / "m.onnx")
    ready = prepared(open_model(tmp_path / "m.onnx"))
    assert [n.name for n in ready.graph.node if n.op_type == "BatchNormalization"] == ["bn1"]


@pytest.mark.parametrize("captured", ["conv1", "w1"])
def test_a_conv_keeps_its_batch_norm_if_a_subgraph_reads_its_output_or_weight(tmp_path: Path, captured: str) -> None:
    model = tiny_model()
    branch = onnx.parser.parse_graph(
        f"g () => (float z) {{ most = ReduceMax <keepdims = 0> ({captured})  z = Neg (most) }}"
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    choice = helper.make_node("If", ["yes"], ["z"], then_branch=branch, else_branch=branch)
    position = next(i for i, node in enumerate(model.graph.node) if node.name == "conv1") + 1
    model.graph.node.insert(position, choice)
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, []))
    onnx.save(model, tmp_path / "m.onnx")
    ready = prepared(open_model(tmp_path / "m.onnx"))
    assert "BatchNormalization" in {node.op_type for node in ready.graph.node}
    for before, after in zip(all_outputs(model), all_outputs(ready), strict=True):
        assert np.allclose(before, after, rtol=1e-4, atol=1e-5)


def test_numbers_in_constant_nodes_become_initializers(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 13]> g (float[2,3,16,16] input) => (float[n] out) {
        low = Constant <value_float = 0.0> ()
        factors = Constant <value_floats = [1.0, 2.0]> ()
        shape = Constant <value_ints = [-1, 2]> ()
        words = Constant <value_strings = ["a"]> ()
        clipped = Clip (input, low)
        pairs = Reshape (clipped, shape)
        out = Mul (pairs, factors)
    }"""
    model = onnx.parser.parse_model(text)
    onnx.save(model, tmp_path / "m.onnx")
    ready = prepared(open_model(tmp_path / "m.onnx"))
    assert [tensor.name for tensor in ready.graph.initializer] == ["low", "factors", "shape"]
    assert [node.op_type for node in ready.graph.node] == ["Constant", "Clip", "Reshape", "Mul"]
    assert np.array_equal(outputs(ready), outputs(model))


def test_the_file_is_not_touched(model_path: Path) -> None:
    before = model_path.read_bytes()
    model = open_model(model_path)
    prepared(model)
    assert model_path.read_bytes() == before
    assert model.graph_only.graph.node[1].op_type == "BatchNormalization"
