"""Models to convert to FP16, and a check of what comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

# Found with 1.23, the newest for Python 3.10; the models are the same, byte for byte, with every version.
old_onnxruntime = tuple(map(int, ort.__version__.split(".")[:2])) < (1, 24)
exact_half = pytest.mark.skipif(old_onnxruntime, reason="this onnxruntime quantizes FP16 coarsely (29 dB for 48)")


def check(model: onnx.ModelProto, islands: int = 0) -> None:
    """The model is valid, and so many tensors inside it are FP32."""
    onnx.checker.check_model(model, full_check=True)
    inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    ports = {value.name for value in (*model.graph.input, *model.graph.output)}
    float32 = {
        value.name for value in inferred.graph.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    assert len(float32 - ports) == islands, float32 - ports


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "m.onnx")
    return folder / "m.onnx"


def constant(name: str, values: object, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype), name)


def transformer(opset: int, width: int = 32) -> onnx.ModelProto:
    """An encoder layer as exporters decompose it: embeddings, LayerNorm, masked attention, GELU."""
    rng = np.random.default_rng(0)
    shapes = {"wq": (width, width), "wk": (width, width), "wv": (width, width), "w1": (width, 64), "w2": (64, width)}
    weights = [constant(name, rng.standard_normal(shape) * 0.2) for name, shape in shapes.items()]
    text = """
        embedded = Gather(table, ids)
        seen = Cast<to=1>(mask)
        hidden = Sub(one, seen)
        penalty = Mul(hidden, lowest)
        bias = Unsqueeze(penalty, middle)
        mean = ReduceMean<axes=[-1]>(embedded)
        centred = Sub(embedded, mean)
        square = Pow(centred, two)
        variance = ReduceMean<axes=[-1]>(square)
        above = Add(variance, epsilon)
        deviation = Sqrt(above)
        normal = Div(centred, deviation)
        q = MatMul(normal, wq)
        k = MatMul(normal, wk)
        v = MatMul(normal, wv)
        kt = Transpose<perm=[0, 2, 1]>(k)
        scores = MatMul(q, kt)
        scaled = Div(scores, root)
        masked = Add(scaled, bias)
        weights = Softmax<axis=-1>(masked)
        mixed = MatMul(weights, v)
        residual = Add(mixed, embedded)
        wide = MatMul(residual, w1)
        narrow = Div(wide, two)
        erf = Erf(narrow)
        gate = Add(erf, one)
        gelu = Mul(wide, gate)
        out = MatMul(gelu, w2)
    """
    nodes = [onnx.parser.parse_node(line) for line in text.strip().splitlines()]
    nodes.insert(0, helper.make_node("Constant", [], ["root"], value_float=5.6))
    constants = [
        *weights,
        constant("table", rng.standard_normal((100, width))),
        constant("one", 1),
        constant("two", 2),
        constant("lowest", -3.4e38),
        constant("epsilon", 1e-12),
        constant("middle", [1], np.int64),
    ]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", 8]) for name in ("ids", "mask")],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 8, width])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def tokens() -> dict[str, np.ndarray]:
    ids = np.random.default_rng(1).integers(0, 100, (2, 8))
    return {"ids": ids, "mask": (np.arange(8) < [[8], [5]]).astype(np.int64)}
