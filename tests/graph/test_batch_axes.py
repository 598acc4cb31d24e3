"""Where samples lie is inferred only where it is certain, and the user's word goes before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import quantkit
from quantkit.core.errors import BadConfig, BadModel
from quantkit.graph.model_file import ModelFile, open_model
from tests.graphs.shapes import (
    FLOAT,
    Dims,
    constant,
    detector,
    model,
    node,
    recurrent,
    voice,
    waveform,
    weight,
    weighted_steps,
)


def opened(proto: onnx.ModelProto, folder: Path, batch_axis: Any = None) -> ModelFile:
    onnx.save(proto, folder / "m.onnx")
    return open_model(folder / "m.onnx", batch_axis)


def one_input(nodes: list[onnx.NodeProto], shape: Dims, output: Dims, *inits: onnx.TensorProto) -> onnx.ModelProto:
    return model(nodes, [("x", FLOAT, shape)], [("y", FLOAT, output)], inits)


def conv(shape: Dims) -> onnx.ModelProto:
    return one_input([node("Conv", ["x", "w"], ["y"])], shape, [shape[0], 4, 8, 8], weight("w", 4, 3, 1, 1))


def channels_last(shape: Dims) -> onnx.ModelProto:
    nodes = [node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), node("Conv", ["t", "w"], ["y"])]
    return one_input(nodes, shape, [shape[0], 4, 8, 8], weight("w", 4, 3, 1, 1))


def layer(shape: Dims) -> onnx.ModelProto:
    return one_input([node("MatMul", ["x", "w"], ["y"])], shape, [*shape[:-1], 4], weight("w", 16, 4))


def attention(shape: Dims) -> onnx.ModelProto:
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        node("MatMul", ["x", "t"], ["scores"]),
        node("Softmax", ["scores"], ["shares"], axis=-1),
        node("MatMul", ["shares", "x"], ["y"]),
    ]
    return one_input(nodes, shape, shape)


def vector(size: int | str | None) -> onnx.ModelProto:
    return one_input([node("Relu", ["x"], ["y"])], [size], [size])


NOT_CERTAIN = "not certain"


@pytest.mark.parametrize(
    ("proto", "axis", "fixed"),
    [
        (conv(["N", 3, 8, 8]), 0, None),
        (conv([None, 3, 8, 8]), 0, None),
        (conv([1, 3, 8, 8]), 0, 1),
        (conv([4, 3, 8, 8]), 0, 4),
        (channels_last([4, 8, 8, 3]), 0, 4),
        (weighted_steps("N"), 1, None),
        (weighted_steps("batch_size"), 1, None),
        (weighted_steps(None), 1, None),  # the only dynamic dimension, along which nothing is mixed
        (weighted_steps(4), 1, 4),  # the only axis along which nothing is mixed
        (recurrent(None), 1, None),
        (recurrent(1), 1, 1),
        (recurrent(4), 1, 4),
        (detector(), None, 1),
        (detector("H", "W"), None, 1),
        (waveform(64), None, 1),
        (waveform("T"), None, 1),
        (vector(64), NOT_CERTAIN, 1),
        (vector(None), NOT_CERTAIN, 1),
        (vector("N"), 0, None),
        (vector(1), None, 1),
        (layer(["sequence", 16]), NOT_CERTAIN, 1),
        (layer(["T", 16]), NOT_CERTAIN, 1),
        (layer([8, 16]), 0, 8),
        (layer(["batch", "sequence", 16]), 0, None),
        (layer(["sequence", "batch", 16]), 1, None),
        (attention([3, 5, 16]), 0, 3),
        (attention(["tokens", "N", 16]), 1, None),
    ],
)
def test_the_axis_of_an_input(tmp_path: Path, proto: onnx.ModelProto, axis: object, fixed: int | None) -> None:
    found = opened(proto, tmp_path)
    own = found.inputs[0]
    assert (NOT_CERTAIN if not own.certain else own.batch_axis) == axis
    assert found.fixed_batch == fixed
    if axis == NOT_CERTAIN:
        assert own.batch_axis is None  # one sample a run, so that nothing is mixed


def test_a_vector_of_one_value_leaves_the_batch_free(tmp_path: Path) -> None:
    proto = model(
        [node("Mul", ["x", "scale"], ["y"])], [("x", FLOAT, ["N", 4]), ("scale", FLOAT, [1])], [("y", FLOAT, ["N", 4])]
    )
    found = opened(proto, tmp_path)
    assert (found.batch_axes, found.fixed_batch) == ({"x": 0, "scale": None}, None)


def test_a_fixed_batch_stays_beside_inputs_that_are_not_certain(tmp_path: Path) -> None:
    inputs: list[tuple[str, int, Dims]] = [("x", FLOAT, [2, 3, 4, 5]), *((name, FLOAT, [3]) for name in "sbmv")]
    proto = model([node("BatchNormalization", ["x", *"sbmv"], ["y"])], inputs, [("y", FLOAT, [2, 3, 4, 5])])
    found = opened(proto, tmp_path)
    assert (found.batch_axes["x"], found.batch_axes["s"], found.fixed_batch) == (0, None, 2)
    rng = np.random.default_rng(1)
    data: dict[str, Any] = {name: rng.random(3).astype(np.float32) for name in "sbmv"}
    whole = quantkit.calibrate(found.path, {"x": rng.random((5, 2, 3, 4, 5)).astype(np.float32), **data})
    assert whole.samples == 10


def test_each_input_and_output_has_its_own_axis(tmp_path: Path) -> None:
    found = opened(voice(), tmp_path)
    assert found.batch_axes == {"input": 0, "state": 1, "sr": None}
    assert {output.name: output.batch_axis for output in found.outputs} == {"output": 0, "stateN": 1}
    assert found.inputs[1].sample_shape == (2, 8)
    outputs = {output.name: output.batch_axis for output in opened(recurrent(4), tmp_path).outputs}
    assert outputs == {"y": 0, "hn": 1, "cn": 1}


@pytest.mark.parametrize(
    ("first", "second"),
    [([3, 4, 5], [5]), ([4, 5], [3, 5, 6]), ([6, 6], [6])],
)
def test_inputs_that_do_not_agree_are_run_one_at_a_time(tmp_path: Path, first: Dims, second: Dims) -> None:
    kind = "MatMul" if len(second) == 3 else "Add"
    proto = model([node(kind, ["a", "b"], ["y"])], [("a", FLOAT, first), ("b", FLOAT, second)], [("y", FLOAT, None)])
    found = opened(proto, tmp_path)
    assert found.batch_axes == {"a": None, "b": None}
    assert found.fixed_batch == 1


@pytest.mark.parametrize(
    ("kind", "arguments", "axes"),
    [
        ("Softmax", {"axis": 0}, [1]),
        ("Softmax", {"axis": 1}, [0]),
        ("CumSum", {}, None),
        ("ReduceMax", {"axes": [0]}, [1]),
        ("Transpose", {"perm": [1, 0]}, [0, 1]),
    ],
)
def test_an_axis_that_an_operator_mixes_is_no_batch(
    tmp_path: Path, kind: str, arguments: dict[str, Any], axes: list[int] | None
) -> None:
    inputs = ["x", "zero"] if kind == "CumSum" else ["x"]
    proto = one_input([node(kind, inputs, ["y"], **arguments)], [5, 7], None, constant("zero", 0, np.int64))  # type: ignore[arg-type]
    own = opened(proto, tmp_path).inputs[0]
    assert own.certain or axes is None or own.batch_axis is None
    if own.certain:
        assert axes is not None
        assert own.batch_axis in axes


@pytest.mark.parametrize(
    ("said", "axes"),
    [
        (1, {"input": 1, "state": 1, "sr": None}),
        ("none", {"input": None, "state": None, "sr": None}),
        ({"state": "none"}, {"input": 0, "state": None, "sr": None}),
        ({"state": 2, "input": "none"}, {"input": None, "state": 2, "sr": None}),
    ],
)
def test_the_users_word_goes_before(tmp_path: Path, said: Any, axes: dict[str, int | None]) -> None:
    assert opened(voice(), tmp_path, said).batch_axes == axes


@pytest.mark.parametrize(
    ("said", "message"),
    [(3, "has 2 dimensions"), ({"nosuch": 0}, "no input of the model"), ({"sr": 0}, "has 0 dimensions")],
)
def test_an_axis_that_is_not_there_is_refused(tmp_path: Path, said: Any, message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        opened(voice(), tmp_path, said)


@pytest.mark.parametrize("dtype", [TensorProto.BFLOAT16, TensorProto.STRING, TensorProto.FLOAT8E4M3FN])
def test_inputs_that_cannot_be_fed_are_refused(tmp_path: Path, dtype: int) -> None:
    proto = model([node("Identity", ["x"], ["y"])], [("x", dtype, ["N", 4])], [("y", dtype, ["N", 4])], opset=19)
    with pytest.raises(BadModel, match=r"cannot (be fed|feed)"):
        opened(proto, tmp_path)


def test_an_output_without_a_shape_gets_the_one_that_follows(tmp_path: Path) -> None:
    found = opened(one_input([node("MatMul", ["x", "w"], ["y"])], ["N", 16], None, weight("w", 16, 4)), tmp_path)  # type: ignore[arg-type]
    assert (found.outputs[0].shape, found.outputs[0].batch_axis) == (("N", 4), 0)
    own = node("Anything", ["x"], ["y"], domain="com.example")
    unknown = model([own], [("x", FLOAT, ["N", 16])], [("y", FLOAT, None)])  # type: ignore[list-item]
    assert (opened(unknown, tmp_path).outputs[0].shape, opened(unknown, tmp_path).outputs[0].batch_axis) == ((), 0)
