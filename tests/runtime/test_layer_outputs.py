"""Layers of a model, their tensors in Q/DQ models made from it, and the way back from equalized channels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from quantkit.core.decibels import decibels, energy, noise_energy
from quantkit.core.errors import BadInput
from quantkit.graph.model_file import open_model
from quantkit.runtime.layer_outputs import OnnxOutputs, layers_of, quantized_names
from quantkit.targets.onnxruntime.qdq import quantized_for_onnxruntime
from quantkit.targets.openvino.qdq import quantized_for_openvino
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from quantkit.transforms.equalized import Undo, equalized
from tests.conftest import tiny_model
from tests.graphs.scalable import MODELS, data, measured, run

DIALECTS = [quantized_for_onnxruntime, quantized_for_openvino, quantized_for_tensorrt]
LAYERS = ["input", "relu1", "conv2", "relu2", "pool", "logits"]


def test_layers_are_what_computes_after_fusion() -> None:
    layers = layers_of(tiny_model().graph)
    assert [layer.tensor for layer in layers] == LAYERS
    assert [layer.kind for layer in layers] == ["Input", "Relu", "Conv", "Relu", "GlobalAveragePool", "Gemm"]
    assert layers[-1].name == "fc"


def test_nodes_that_only_move_values_are_no_layers() -> None:
    text = """g (float[1,4,4,4] x) => (float[n] out) <int64[2] some = {0, 1}> {
        a = Relu (x)
        b = DepthToSpace <blocksize = 2> (a)
        c = SpaceToDepth <blocksize = 2> (b)
        d = Gather <axis = 1> (c, some)
        e = Pad (d, pads)
        out = Abs (e)
    }"""
    assert [layer.tensor for layer in layers_of(onnx.parser.parse_graph(text))] == ["x", "a", "out"]


def test_nodes_without_a_name_are_called_by_their_tensor() -> None:
    proto = tiny_model()
    for node in proto.graph.node:
        node.name = ""
    assert [layer.name for layer in layers_of(proto.graph)] == LAYERS


def test_outputs_are_the_models_own_values(tmp_path: Path) -> None:
    proto = tiny_model()
    onnx.save(proto, tmp_path / "m.onnx")
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    outputs = OnnxOutputs(tmp_path / "m.onnx", proto, False, {name: name for name in LAYERS})
    found = outputs.infer({"input": x})
    assert list(found) == LAYERS == list(outputs.names)
    assert np.array_equal(found["input"], x)
    np.testing.assert_allclose(found["pool"], found["relu2"].mean(axis=(2, 3), keepdims=True), rtol=1e-5)
    with pytest.raises(BadInput, match="cannot compute the layers' outputs"):
        outputs.infer({"input": x[:, :2]})


def test_a_tensor_is_taken_behind_its_pair(tmp_path: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "m.onnx")
    model = open_model(tmp_path / "m.onnx")
    x = np.random.default_rng(0).standard_normal((4, 3, 16, 16)).astype(np.float32)
    reference = OnnxOutputs(model.path, model.graph_only, False, {name: name for name in LAYERS})
    values = reference.infer({"input": x})
    from quantkit.core.ranges import TensorRange

    ranges = {
        name: TensorRange.asymmetric(float(own.min()), float(own.max()))
        for name, own in {**values, "flat": values["pool"]}.items()
    }
    for dialect in DIALECTS:
        quantized = dialect(model, ranges).proto
        names = quantized_names(quantized.graph, [*LAYERS, "conv1", "no such tensor"])
        assert set(LAYERS) <= set(names), dialect
        assert "no such tensor" not in names
        onnx.save(quantized, tmp_path / "q.onnx")
        found = OnnxOutputs.of_quantized(tmp_path / "q.onnx", LAYERS).infer({"input": x})
        assert len(np.unique(found["relu1"])) <= 256, dialect  # a rounded tensor has that many values
        for name in LAYERS:
            sqnr = decibels(energy(values[name]), noise_energy(values[name], found[name]))
            assert sqnr is None or sqnr > 25, (dialect, name)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_equalized_tensors_are_compared_in_their_own_values(
    kind: str, dialect: Callable[..., onnx.ModelProto], tmp_path: Path
) -> None:
    """Without the way back, an equalized tensor would seem to be mostly noise."""
    proto = MODELS[kind]()
    x = data(proto)
    ranges, channels = measured(proto, x)
    onnx.save(proto, tmp_path / "m.onnx")
    model = open_model(tmp_path / "m.onnx")
    symmetric = dialect is quantized_for_tensorrt
    factors = equalized(model, ranges, channels, symmetric=symmetric).factors
    onnx.save(dialect(model, ranges, channels=channels).proto, tmp_path / "q.onnx")
    tensors = [layer.tensor for layer in layers_of(proto.graph)]
    expected = dict(zip(tensors[1:], run(proto, x, *tensors[1:]), strict=True)) | {"x": x}
    undo = Undo(model.graph_only.graph, factors)
    right, wrong = {}, {}
    for name, values in OnnxOutputs.of_quantized(tmp_path / "q.onnx", tensors).infer({"x": x}).items():
        right[name] = decibels(energy(expected[name]), noise_energy(expected[name], undo(name, values)))
        wrong[name] = decibels(energy(expected[name]), noise_energy(expected[name], values))
    assert set(tensors) == set(right)
    assert all(sqnr is None or sqnr > 25 for sqnr in right.values()), right
    changed = set(factors) & set(tensors)
    assert changed
    for name in changed:
        assert wrong[name] is not None and wrong[name] < 15, name
