"""Matrix products take weights that the graph itself quantizes, to the same INT8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.ranges import TensorRange
from quantkit.graph.model_file import open_model
from quantkit.qdq.reader import read_qdq
from quantkit.targets.tensorrt.lint import lint
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from quantkit.targets.tensorrt.qdq.matrix_weights import with_float_matrices
from tests.graphs.quantized import run


@pytest.fixture
def quantized(tmp_path: Path) -> onnx.ModelProto:
    """A Conv, a Gemm with a transposed weight, and a MatMul."""
    rng = np.random.default_rng(1)
    weights = [
        numpy_helper.from_array((rng.standard_normal(shape) * 0.2).astype(np.float32), name)
        for name, shape in (("w", (16, 3, 16, 16)), ("g", (32, 16)), ("m", (32, 24)))
    ]
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["c"], name="c"),
        helper.make_node("Flatten", ["c"], ["f"], name="f"),
        helper.make_node("Gemm", ["f", "g"], ["gemm"], name="gemm", transB=1),
        helper.make_node("MatMul", ["gemm", "m"], ["out"], name="out"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 24])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
    ranges = {name: TensorRange.symmetric(9.0, -9.0, 9.0) for name in ("input", "c", "f", "gemm", "out")}
    return quantized_for_tensorrt(open_model(tmp_path / "m.onnx"), ranges).proto


def test_the_weights_stay_what_they_were(quantized: onnx.ModelProto) -> None:
    changed = with_float_matrices(quantized)
    onnx.checker.check_model(changed, full_check=True)
    integers = {
        t.name: numpy_helper.to_array(t) for t in quantized.graph.initializer if t.data_type == TensorProto.INT8
    }
    assert np.array_equal(run(quantized), run(changed))
    by_output = {node.output[0]: node for node in changed.graph.node}
    constants = {t.name: numpy_helper.to_array(t) for t in changed.graph.initializer}
    for name in ("g", "m"):
        node = by_output[f"{name}_quantized"]
        assert node.op_type == "QuantizeLinear"
        scale = constants[node.input[1]]
        axis = next(a.i for a in node.attribute if a.name == "axis")
        shape = [-1 if i == axis else 1 for i in range(2)]
        again = np.clip(np.rint(constants[node.input[0]] / scale.reshape(shape)), -128, 127)
        assert np.array_equal(again, integers[f"{name}_quantized"])
    assert constants["w_quantized"].dtype == np.int8  # a Conv's weight stays small
    assert "g_quantized" in {t.name for t in quantized.graph.initializer}  # what was given is as it was


def test_lint_and_convert_read_it_alike(quantized: onnx.ModelProto) -> None:
    changed = with_float_matrices(quantized)
    assert [f for f in lint(changed) if f.severity == "error"] == []
    known = frozenset({"input", "c", "f", "gemm", "out"})
    before, after = (
        read_qdq(onnx.ModelProto.FromString(q.SerializeToString()), "it", Path(), known) for q in (quantized, changed)
    )
    assert after.ranges == before.ranges
