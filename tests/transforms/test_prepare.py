from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from quantkit.graph.model_file import open_model
from quantkit.transforms.prepare import prepared
from tests.conftest import tiny_model

X = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)


def outputs(model: onnx.ModelProto) -> np.ndarray:
    return ort.InferenceSession(model.SerializeToString()).run(None, {"input": X})[0]  # type: ignore[no-any-return]


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


def test_the_file_is_not_touched(model_path: Path) -> None:
    before = model_path.read_bytes()
    model = open_model(model_path)
    prepared(model)
    assert model_path.read_bytes() == before
    assert model.graph_only.graph.node[1].op_type == "BatchNormalization"
