"""Which axis of an activation counts its channels, and that the statistics follow it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import quantkit as qk
from quantkit.graph.channel_axes import channel_axes
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import open_model
from quantkit.runtime.activations import ActivationSession, Runner
from tests.conftest import tiny_model

RNG = np.random.default_rng(6)
Shape = tuple[int, ...]


def model_of(nodes: list[onnx.NodeProto], x: Shape, weights: dict[str, Shape], ints: dict[str, list[int]]) -> bytes:
    """A model of input x, batch 1, with random weights, whose last node's output is given."""
    constants = [numpy_helper.from_array(RNG.standard_normal(s).astype(np.float32), n) for n, s in weights.items()]
    constants += [numpy_helper.from_array(np.array(v, np.int64), n) for n, v in ints.items()]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()  # type: ignore[no-any-return]


def node(kind: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


CONVOLUTIONAL = model_of(
    [
        node("Conv", "x w", "conv"),
        node("Sigmoid", "conv", "gate"),
        node("Mul", "conv gate", "swish"),
        node("GlobalAveragePool", "swish", "pooled"),
        node("Sigmoid", "pooled", "squeeze"),
        node("Mul", "swish squeeze", "scaled"),
        node("Relu", "scaled", "out"),
    ],
    (1, 3, 6, 6),
    {"w": (5, 3, 1, 1)},
    {},
)
ONE_DIMENSIONAL = model_of(
    [node("Conv", "x w", "conv"), node("Relu", "conv", "relu"), node("Conv", "relu w2", "out")],
    (1, 3, 9),
    {"w": (5, 3, 1), "w2": (4, 5, 1)},
    {},
)
PERCEPTRON = model_of(
    [
        node("Gemm", "x w b", "fc"),
        node("Relu", "fc", "relu"),
        node("MatMul", "relu w2", "mm"),
        node("Add", "mm b2", "out"),
    ],
    (1, 7),
    {"w": (7, 6), "b": (6,), "w2": (6, 5), "b2": (5,)},
    {},
)
ATTENTION = model_of(  # as Swin has it: channels last, four dimensions
    [
        node("LayerNormalization", "x g b", "norm", axis=-1),
        node("MatMul", "norm w", "up"),
        node("Erf", "up", "erf"),
        node("Mul", "up erf", "gelu"),
        node("MatMul", "gelu w2", "down"),
        node("Add", "x down", "out"),
    ],
    (1, 4, 4, 6),
    {"g": (6,), "b": (6,), "w": (6, 10), "w2": (10, 6)},
    {},
)
MIXED = model_of(  # as a vision transformer's start: convolution, then tokens
    [
        node("Conv", "x w", "patches"),
        node("Reshape", "patches shape", "flat"),
        node("Transpose", "flat", "tokens", perm=[0, 2, 1]),
        node("Add", "tokens place", "embedded"),
        node("LayerNormalization", "embedded g b", "norm", axis=-1),
        node("MatMul", "norm w2", "out"),
    ],
    (1, 3, 4, 4),
    {"w": (6, 3, 2, 2), "place": (1, 9, 6), "g": (6,), "b": (6,), "w2": (6, 5)},
    {"shape": [1, 6, 9]},
)


@pytest.mark.parametrize(
    ("model", "axes"),
    [
        pytest.param(
            CONVOLUTIONAL,
            dict.fromkeys(("x", "conv", "gate", "swish", "pooled", "squeeze", "scaled", "out"), 1),
            id="convolutional",
        ),
        pytest.param(ONE_DIMENSIONAL, dict.fromkeys(("x", "conv", "relu", "out"), 1), id="one-dimensional"),
        pytest.param(PERCEPTRON, dict.fromkeys(("x", "fc", "relu", "mm", "out"), -1), id="perceptron"),
        pytest.param(
            ATTENTION, dict.fromkeys(("x", "norm", "up", "erf", "gelu", "down", "out"), -1), id="channels last"
        ),
        pytest.param(
            MIXED,
            {"x": 1, "patches": 1, "tokens": -1, "embedded": -1, "norm": -1, "out": -1, "flat": None},
            id="patches to tokens",
        ),
    ],
)
def test_channels_are_where_the_operators_have_them(model: bytes, axes: dict[str, int | None]) -> None:
    found = channel_axes(Graph(onnx.load_from_string(model).graph))
    assert {name: found.get(name) for name in axes} == axes


def test_a_residual_network_counts_channels_first_throughout() -> None:
    found = channel_axes(Graph(tiny_model().graph))
    names = ("input", "conv1", "bn1", "relu1", "conv2", "add", "relu2", "pool")
    assert {name: found[name] for name in names} == dict.fromkeys(names, 1)
    assert (found["flat"], found["logits"]) == (-1, -1)


@pytest.mark.parametrize("model", [CONVOLUTIONAL, ONE_DIMENSIONAL, PERCEPTRON, ATTENTION, MIXED])
def test_the_statistics_are_those_of_each_channel(tmp_path: Path, model: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(model)
    opened = open_model(tmp_path / "m.onnx")
    samples = RNG.standard_normal((6, *opened.inputs[0].shape[1:])).astype(np.float32)
    np.save(tmp_path / "x.npy", samples)
    calibration = qk.calibrate(tmp_path / "m.onnx", tmp_path / "x.npy")
    runner = Runner(ActivationSession(opened, threads=1))
    every = [{name: a.copy() for name, a in runner.run({"x": sample[None]}).items()} for sample in samples]
    for activations in every:
        activations |= {c.name: activations[c.source].clip(c.low, c.high) for c in runner.clamps}
    axes = channel_axes(Graph(onnx.load_from_string(model).graph))
    assert set(calibration.channels) == set(every[0])
    for name, channels in calibration.channels.items():
        array = np.concatenate([activations[name] for activations in every])
        axis = axes.get(name, -1)
        others = tuple(i for i in range(array.ndim) if i != axis % array.ndim)
        np.testing.assert_array_equal(channels.minimum, array.min(axis=others))
        np.testing.assert_array_equal(channels.maximum, array.max(axis=others))
        np.testing.assert_allclose(channels.mean, array.mean(axis=others, dtype=np.float64), atol=1e-5)


def test_a_tensor_without_that_axis_is_counted_all_the_same(tmp_path: Path) -> None:
    # The maximum of a whole image is one number: what divides by it passes on an axis that it does not have.
    nodes = [
        node("Conv", "x w", "conv"),
        node("ReduceMax", "conv", "peak", axes=[1, 2, 3], keepdims=0),
        node("Div", "conv peak", "out"),
    ]
    (tmp_path / "m.onnx").write_bytes(model_of(nodes, (1, 3, 6, 6), {"w": (5, 3, 1, 1)}, {}))
    np.save(tmp_path / "x.npy", RNG.standard_normal((6, 3, 6, 6)).astype(np.float32))
    calibration = qk.calibrate(tmp_path / "m.onnx", tmp_path / "x.npy")
    assert calibration.histograms["peak"].total == 6
    assert calibration.channels["peak"].mean.shape == (1,)
    assert calibration.channels["out"].mean.shape == (5,)
