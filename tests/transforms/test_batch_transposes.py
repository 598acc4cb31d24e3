"""FP16 models with Transposes on which onnxruntime would end the process that loads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from quantkit.transforms.half_precision import half_precision
from tests.graphs.small import db, network, opened, outputs, weights

LOAD = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])"
TIME_MAJOR = "(float[20,N,16] x) => (float[N,20,24] y)"
BRANCH = "u{0} = Transpose<perm=[1,0,2]>(h) p{0} = MatMul(u{0}, w)"


@pytest.mark.parametrize(
    "text",
    [
        f"{TIME_MAJOR} {{ u = Transpose<perm=[1,0,2]>(x) y = MatMul(u, w) }}",
        f"{TIME_MAJOR} {{ r = Relu(x) u = Transpose<perm=[1,0,2]>(r) i = Identity(u) y = MatMul(i, w) }}",
        "(float[16,N,20] x) => (float[N,20,24] y) { u = Transpose<perm=[1,2,0]>(x) y = MatMul(u, w) }",
        "(float[20,N,3,16] x) => (float[N,3,20,24] y) { u = Transpose<perm=[1,2,0,3]>(x) y = MatMul(u, w) }",
        "(float[16,N,5] x) => (float[N,24,5] y) { u = Transpose<perm=[1,0,2]>(x) y = MatMul(v, u) }",
        f"""{TIME_MAJOR} {{
            h = Relu(x) most = ReduceMax<keepdims=0>(x) low = Constant<value_float=-100.0>() c = Greater(most, low)
            y = If(c)<
                then_branch = a() => (float[N,20,24] p1) {{ {BRANCH.format(1)} }},
                else_branch = b() => (float[N,20,24] p2) {{ {BRANCH.format(2)} }}>
        }}""",
    ],
    ids=["time-major", "behind Identity", "last", "four axes", "second input", "in branches"],
)
def test_load_and_run(text: str, tmp_path: Path) -> None:
    """The FP16 model loads, in a process of its own, and computes what the model does."""
    model = network(text, {"w": weights(16, 24), "v": weights(24, 16)}, opset=17)
    shape = [dimension.dim_value or 4 for dimension in model.graph.input[0].type.tensor_type.shape.dim]
    half = half_precision(opened(model, tmp_path)).proto
    onnx.checker.check_model(half, full_check=True)
    onnx.save(half, tmp_path / "half.onnx")
    subprocess.run([sys.executable, "-c", LOAD, str(tmp_path / "half.onnx")], check=True, capture_output=True)
    x = {"x": np.random.default_rng(1).normal(size=shape).astype(np.float32)}
    assert db(outputs(model, x)[0], outputs(half, x)[0]) > 50
