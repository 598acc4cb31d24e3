from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import quantkit as qk
from quantkit.core.statistics.clamp import Clamp
from quantkit.graph.clamps import clamps_of
from quantkit.graph.graph import Graph
from quantkit.runtime import activations
from tests.golden.cases import mixed
from tests.pipeline.calibration.counts import bits


def graph(*nodes: onnx.NodeProto, constants: dict[str, float] | None = None) -> Graph:
    own = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in (constants or {}).items()],
    )
    return Graph(own)


def test_relu_and_clip_of_constant_bounds_are_told_from_their_input() -> None:
    found = clamps_of(
        graph(
            helper.make_node("Relu", ["x"], ["a"]),
            helper.make_node("Neg", ["a"], ["b"]),
            helper.make_node("Clip", ["b", "low", "high"], ["c"]),
            helper.make_node("Neg", ["c"], ["d"]),
            helper.make_node("Constant", [], ["six"], value=numpy_helper.from_array(np.float32(6))),
            helper.make_node("Clip", ["d", "", "six"], ["e"]),
            helper.make_node("Neg", ["e"], ["out"]),
            constants={"low": -1, "high": 2},
        ),
        set("xabcde"),
    )
    assert found == [
        Clamp("a", "x", 0.0, np.inf),
        Clamp("c", "b", -1.0, 2.0),
        Clamp("e", "d", -np.inf, 6.0),
    ]


@pytest.mark.parametrize(
    ("nodes", "wanted"),
    [
        ([helper.make_node("Relu", ["x"], ["out"])], {"x", "out"}),  # a graph output is computed anyway
        ([helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Neg", ["a"], ["out"])], {"a", "out"}),
        ([helper.make_node("Clip", ["x", "x"], ["a"]), helper.make_node("Neg", ["a"], ["out"])], {"x", "a", "out"}),
        (
            [
                helper.make_node("Constant", [], ["none"], value=numpy_helper.from_array(np.zeros(0, np.float32))),
                helper.make_node("Clip", ["x", "none"], ["a"]),
                helper.make_node("Neg", ["a"], ["out"]),
            ],
            {"x", "a", "out"},
        ),
        ([helper.make_node("LeakyRelu", ["x"], ["a"]), helper.make_node("Neg", ["a"], ["out"])], {"x", "a", "out"}),
    ],
)
def test_nothing_else_is(nodes: list[onnx.NodeProto], wanted: set[str]) -> None:
    assert clamps_of(graph(*nodes), wanted) == []


def test_a_chain_is_told_from_a_tensor_that_is_computed() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Clip", ["a", "low", "high"], ["b"]),
        helper.make_node("Neg", ["b"], ["out"]),
    ]
    found = clamps_of(graph(*nodes, constants={"low": 0, "high": 6}), set("xab"))
    assert found == [Clamp("a", "x", 0.0, np.inf)]


def test_the_counts_are_those_of_the_computed_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = mixed()
    (tmp_path / "m.onnx").write_bytes(model)
    np.save(tmp_path / "x.npy", inputs[:40])
    told = qk.calibrate(tmp_path / "m.onnx", tmp_path / "x.npy", output=tmp_path / "told")
    monkeypatch.setattr(activations, "clamps_of", lambda graph, wanted: [])
    computed = qk.calibrate(tmp_path / "m.onnx", tmp_path / "x.npy", output=tmp_path / "computed", fresh=True)
    assert list(told.tensors) == list(computed.tensors)
    assert bits(tmp_path / "told") == bits(tmp_path / "computed")


def test_bounds_in_an_external_file_are_left_to_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = mixed()
    proto = onnx.load_from_string(model)
    (tmp_path / "model").mkdir()
    onnx.save(proto, tmp_path / "model" / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    np.save(tmp_path / "x.npy", inputs[:5])
    (tmp_path / "m.data").write_bytes(bytes(1 << 20))  # not the model's
    monkeypatch.chdir(tmp_path)
    found = qk.calibrate("model/m.onnx", "x.npy")
    (tmp_path / "inside.onnx").write_bytes(model)
    inside = qk.calibrate("inside.onnx", "x.npy")
    assert found.tensors == inside.tensors
