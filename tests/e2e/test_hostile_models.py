"""Hostile models: refused in time with a sentence."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.errors import BadModel
from quantkit.graph.model_file import open_model
from tests.conftest import Quantkit, tiny_model

SECONDS = 5.0  # that a refusal may take


def node_of(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def weight_of(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def nested(model: onnx.ModelProto, depth: int = 23) -> None:
    inner = helper.make_graph([helper.make_node("Identity", ["relu1"], ["y0"])], "g", [], [_any("y0")])
    for level in range(1, depth):
        other = helper.make_graph(
            [helper.make_node("Identity", ["relu1"], [f"o{level}"])], "o", [], [_any(f"o{level}")]
        )
        node = helper.make_node("If", ["yes"], [f"y{level}"], then_branch=inner, else_branch=other)
        inner = helper.make_graph([node], "g", [], [_any(f"y{level}")])
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    model.graph.node.append(inner.node[0])


def _any(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def external(**entries: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = weight_of(model, "w1")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in ({"location": "m.data"} | entries).items():
            tensor.external_data.add(key=key, value=value)

    return change


def with_weight(name: str, value: float) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = weight_of(model, name)
        values = numpy_helper.to_array(tensor).copy()
        values.flat[3] = value
        tensor.CopyFrom(numpy_helper.from_array(values, name))

    return change


def shaped(*sizes: int | str) -> Callable[[onnx.ModelProto], None]:
    return lambda model: model.graph.input[0].CopyFrom(
        helper.make_tensor_value_info("input", TensorProto.FLOAT, list(sizes))
    )


def typed(number: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.elem_type = number

    return change


def cyclic(model: onnx.ModelProto) -> None:
    node_of(model, "conv1").input[0] = "relu2"


MODELS: dict[str, tuple[Callable[[onnx.ModelProto], Any], str]] = {
    "nested": (nested, "graphs inside one another"),
    "many nodes": (lambda m: m.graph.node.extend([onnx.NodeProto()] * 1_100_000), "nodes"),
    "empty nodes": (lambda m: m.graph.node.extend([onnx.NodeProto()] * 3), "no operator or no output"),
    "cycle": (cyclic, "cycle"),
    "cycle of one": (lambda m: node_of(m, "relu1").input.__setitem__(0, "relu1"), "cycle"),
    "tensor twice": (lambda m: node_of(m, "relu2").output.__setitem__(0, "relu1"), "two of the tensor 'relu1'"),
    "initializer twice": (lambda m: m.graph.initializer.append(weight_of(m, "w1")), "two of the initializer 'w1'"),
    "input twice": (lambda m: m.graph.input.append(m.graph.input[0]), "two of the input 'input'"),
    "no output": (lambda m: node_of(m, "relu1").ClearField("output"), "no operator or no output"),
    "no input": (lambda m: node_of(m, "relu1").ClearField("input"), "relu1.* lacks its input"),
    "no weight": (lambda m: node_of(m, "conv1").input.__delitem__(slice(1, 3)), "conv1.* lacks its input 'W'"),
    "weight without a name": (lambda m: node_of(m, "conv1").input.__setitem__(1, ""), "conv1.* lacks its input 'W'"),
    "attribute of another type": (
        lambda m: node_of(m, "conv1").attribute[0].CopyFrom(helper.make_attribute("pads", "x")),
        "'pads' of Conv 'conv1'",
    ),
    "short data": (lambda m: setattr(weight_of(m, "w1"), "raw_data", b"123"), "'w1' .* 3 bytes"),
    "negative shape": (lambda m: weight_of(m, "w1").dims.__setitem__(0, -16), "'w1' .* shape"),
    "unknown weight type": (lambda m: setattr(weight_of(m, "w1"), "data_type", 99), "'w1' .* type"),
    "name with NUL": (lambda m: node_of(m, "relu2").output.__setitem__(0, "a\0"), "NUL"),
    "string input": (typed(TensorProto.STRING), "'input' .* STRING"),
    "unknown input type": (typed(77), "'input' .* 77"),
    "no input type": (typed(0), "'input' .* UNDEFINED"),
    "huge batch": (shaped(2**40, 3, 16, 16), "'input' .* GB"),
    "huge image": (shaped("N", 3, 2**20, 2**20), "'input' .* GB"),
    "huge dimension": (shaped("N", 2**62), "'input' .* GB"),
    "offset below 0": (external(offset="-4"), "'w1' lies outside"),
    "offset no number": (external(offset="x"), "'w1' .* no number"),
    "length too far": (external(length=str(2**40)), "'w1' lies outside"),
    "location with NUL": (external(location="m\0.data"), "'w1' .* no file"),
    "no location": (external(location=""), "'w1' .* no file"),
    "NaN": (with_weight("w2", float("nan")), "'w2' of Conv 'conv2' .* NaN"),
    "Inf": (with_weight("w3", float("inf")), "'w3' of Gemm 'fc' .* Inf"),
    "NaN in BatchNorm": (with_weight("v", float("nan")), "'v' of BatchNormalization"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_hostile_model_is_refused_at_once(tmp_path: Path, name: str) -> None:
    change, words = MODELS[name]
    model = tiny_model()
    change(model)
    (tmp_path / "m.data").write_bytes(bytes(100_000))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    start = time.perf_counter()
    with pytest.raises(BadModel, match=words):
        open_model(tmp_path / "m.onnx").load()
    assert time.perf_counter() - start < SECONDS


def test_hostile_models_end_with_2(invoked: Quantkit, tmp_path: Path, images: Path) -> None:
    model = tiny_model()
    cyclic(model)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "ranges.txt").write_text("conv1: 1.0\n")
    for verb in (
        ("inspect", "m.onnx"),
        ("calibrate", "m.onnx", "--data", images),
        ("convert", "ranges.txt", "--model", "m.onnx", "--to", "qdq", "-o", "q.onnx"),
    ):
        done = invoked(*verb)
        assert done.returncode == 2, done.stderr
        assert "cycle" in done.stderr


# Pipes, devices, and files that are too much
