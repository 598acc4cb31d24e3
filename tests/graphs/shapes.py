"""Small models whose samples lie in other ways than along the first axis of one input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dims = Sequence[int | str | None]
FLOAT = TensorProto.FLOAT
node = helper.make_node


def weight(name: str, *shape: int, seed: int = 3) -> onnx.TensorProto:
    values = np.random.default_rng(seed).standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))
    return numpy_helper.from_array(values.astype(np.float32), name)


def constant(name: str, values: object, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[tuple[str, int, Dims]],
    outputs: Sequence[tuple[str, int, Dims]],
    initializers: Sequence[onnx.TensorProto] = (),
    opset: int = 17,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "shapes",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def weighted_steps(batch: int | str | None = "N") -> onnx.ModelProto:
    """(6, N, 16): six steps of unlike magnitude, summed; no step may be taken for another."""
    return model(
        [
            node("Mul", ["x", "gains"], ["scaled"]),
            node("ReduceSum", ["scaled", "steps"], ["s"], keepdims=0),
            node("Gemm", ["s", "w"], ["h"], transB=1),
            node("Relu", ["h"], ["r"]),
            node("Gemm", ["r", "v"], ["y"], transB=1),
        ],
        [("x", FLOAT, [6, batch, 16])],
        [("y", FLOAT, [batch, 20])],
        [
            constant("gains", 10.0 ** np.arange(6).reshape(6, 1, 1)),
            constant("steps", [0], np.int64),
            weight("w", 20, 16),
            weight("v", 20, 20),
        ],
    )


def detector(height: int | str = 8, width: int | str = 8) -> onnx.ModelProto:
    """(3, H, W): one image without a batch axis."""
    return model(
        [
            node("Unsqueeze", ["x", "front"], ["batched"]),
            node("Conv", ["batched", "w"], ["c"], pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["r"]),
            node("Conv", ["r", "v"], ["y"]),
        ],
        [("x", FLOAT, [3, height, width])],
        [("y", FLOAT, [1, 4, height, width])],
        [constant("front", [0], np.int64), weight("w", 8, 3, 3, 3), weight("v", 4, 8, 1, 1)],
    )


def recurrent(batch: int | str | None = None, length: int = 5) -> onnx.ModelProto:
    """An LSTM over (T, batch, 8) with its states (1, batch, 4)."""
    return model(
        [
            node("LSTM", ["x", "w", "r", "", "", "h", "c"], ["all", "hn", "cn"], hidden_size=4),
            node("Squeeze", ["hn", "front"], ["last"]),
            node("Gemm", ["last", "v"], ["y"], transB=1),
        ],
        [("x", FLOAT, [length, batch, 8]), ("h", FLOAT, [1, batch, 4]), ("c", FLOAT, [1, batch, 4])],
        [("y", FLOAT, [batch, 3]), ("hn", FLOAT, [1, batch, 4]), ("cn", FLOAT, [1, batch, 4])],
        [constant("front", [0], np.int64), weight("w", 1, 16, 8), weight("r", 1, 16, 4), weight("v", 3, 4)],
    )


def voice(batch: int | str = "batch", state: int | str = "batch") -> onnx.ModelProto:
    """A voice detector: frames, a state with the batch in the middle, and a sampling rate for all."""
    return model(
        [
            node("Cast", ["sr"], ["rate"], to=FLOAT),
            node("Div", ["rate", "usual"], ["scale"]),
            node("Mul", ["input", "scale"], ["scaled"]),
            node("Gemm", ["scaled", "w"], ["h"], transB=1),
            node("Split", ["state"], ["s0", "s1"], axis=0),
            node("Squeeze", ["s0", "front"], ["before"]),
            node("Add", ["h", "before"], ["next"]),
            node("Tanh", ["next"], ["t"]),
            node("Unsqueeze", ["t", "front"], ["kept"]),
            node("Concat", ["kept", "s1"], ["stateN"], axis=0),
            node("Gemm", ["t", "v"], ["logit"], transB=1),
            node("Sigmoid", ["logit"], ["output"]),
        ],
        [("input", FLOAT, [batch, 32]), ("state", FLOAT, [2, state, 8]), ("sr", TensorProto.INT64, [])],
        [("output", FLOAT, [batch, 1]), ("stateN", FLOAT, [2, state, 8])],
        [constant("usual", 16000.0), constant("front", [0], np.int64), weight("w", 8, 32), weight("v", 1, 8)],
    )


def waveform(size: int | str = 64) -> onnx.ModelProto:
    """(L,): one dimension, which is time."""
    return model(
        [
            node("Unsqueeze", ["x", "front"], ["u"]),
            node("Conv", ["u", "w"], ["c"], pads=[1, 1]),
            node("Relu", ["c"], ["r"]),
            node("ReduceMean", ["r"], ["m"], axes=[2], keepdims=0),
            node("Gemm", ["m", "v"], ["g"], transB=1),
            node("ReduceSum", ["g", "all"], ["y"], keepdims=0),
        ],
        [("x", FLOAT, [size])],
        [("y", FLOAT, [])],
        [
            constant("front", [0, 1], np.int64),
            constant("all", [0, 1], np.int64),
            weight("w", 8, 1, 3),
            weight("v", 4, 8),
        ],
    )
