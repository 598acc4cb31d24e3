"""Models whose channels are worth scaling, and the ranges and channels of their tensors."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.transforms.equalization import FEWEST_CLIPPED

RNG = np.random.default_rng(0)
OUTLIER = 40.0
CHANNELS = 32


def initializers(**arrays: np.ndarray) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(np.asarray(a, np.float32), name) for name, a in arrays.items()]


def node(kind: str, source: str, output: str, *constants: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, [source, *constants], [output], name=output, **attributes)


def model(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], shape: list[int | str]) -> onnx.ModelProto:
    names = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", shape), ("y", None))]
    graph = helper.make_graph(nodes, "g", names[:1], names[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def transformer() -> onnx.ModelProto:
    """LayerNormalization with one huge channel, whose consumers' weights are small to match: two, one a Gemm."""
    gain = np.ones(CHANNELS)
    gain[3] = OUTLIER
    weight = RNG.standard_normal((CHANNELS, 24)) / gain[:, None]
    nodes = [
        helper.make_node("LayerNormalization", ["x", "gain", "shift"], ["n"], name="n"),
        helper.make_node("Shape", ["n"], ["shape"], name="shape"),
        helper.make_node("MatMul", ["n", "w"], ["m"], name="m"),
        helper.make_node("Add", ["m", "b"], ["a"], name="a"),
        helper.make_node("MatMul", ["n", "w"], ["o"], name="o"),
        helper.make_node("Mul", ["a", "o"], ["y"], name="y"),
    ]
    constants = initializers(gain=gain, shift=np.zeros(CHANNELS), w=weight, b=np.zeros(24))
    return model(nodes, constants, ["batch", 16, CHANNELS])


def mobile() -> onnx.ModelProto:
    """Conv, Clip to 0..6, depthwise Conv, Clip, Conv: half the channels use a tenth of the range."""
    small = np.where(np.arange(CHANNELS) % 2, 0.1, 1.0).reshape(-1, 1, 1, 1)
    constants = initializers(
        w1=RNG.standard_normal((CHANNELS, 8, 1, 1)) * small * 0.5,
        b1=np.zeros(CHANNELS),
        low=np.float32(0),
        high=np.float32(6),
        w2=RNG.standard_normal((CHANNELS, 1, 3, 3)) / 3,
        b2=np.zeros(CHANNELS),
        w3=RNG.standard_normal((24, CHANNELS, 1, 1)) / small.reshape(1, -1, 1, 1),
        b3=np.zeros(24),
    )
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="c1"),
        helper.make_node("Clip", ["c1", "low", "high"], ["r1"], name="r1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="c2", group=CHANNELS, pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["c2", "low", "high"], ["r2"], name="r2"),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["y"], name="y"),
    ]
    return model(nodes, constants, ["batch", 8, 12, 12])


MODELS = {"transformer": transformer, "mobile": mobile}


def run(proto: onnx.ModelProto, x: np.ndarray, *names: str) -> list[np.ndarray]:
    own = onnx.ModelProto.FromString(proto.SerializeToString())
    own.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name != "y")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    outputs: list[np.ndarray] = ort.InferenceSession(own.SerializeToString(), options).run(list(names), {"x": x})
    return outputs


def measured(
    proto: onnx.ModelProto, x: np.ndarray, samples: int = FEWEST_CLIPPED
) -> tuple[dict[str, TensorRange], dict[str, ChannelStatistics]]:
    names = [n for node in proto.graph.node for n in node.output if node.op_type != "Shape"]
    values = dict(zip(names, run(proto, x, *names), strict=True)) | {"x": x}
    ranges, channels = {}, {}
    for name, value in values.items():
        rows = (
            value.reshape(-1, value.shape[-1])
            if value.ndim == 3
            else np.moveaxis(value, 1, -1).reshape(-1, value.shape[1])
        )
        low, high = rows.min(axis=0), rows.max(axis=0)
        ranges[name] = TensorRange.asymmetric(float(low.min()), float(high.max()))
        total = np.rint(rows.mean(axis=0, dtype=np.float64) * samples * 2**40).astype(np.int64)
        channels[name] = ChannelStatistics(low, high, total, 2.0**-40, samples)
    return ranges, channels


def data(proto: onnx.ModelProto) -> np.ndarray:
    shape = [d.dim_value or 32 for d in proto.graph.input[0].type.tensor_type.shape.dim]
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a - b) ** 2).sum() / (a**2).sum())
