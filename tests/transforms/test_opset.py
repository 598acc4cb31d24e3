"""A model in an older opset: what is the same there, what is rewritten, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from quantkit.core.errors import TargetRefuses
from quantkit.graph.conversion import converted
from quantkit.graph.graph import graphs_of
from quantkit.graph.model_file import ModelFile, open_model
from quantkit.transforms.opset import at_opset, is_same_in
from tests.graphs.refused import SHAPE, conv, saved_in

FEED = {"x": np.random.default_rng(2).standard_normal(SHAPE).astype(np.float32)}


def opened(model: onnx.ModelProto, folder: Path) -> ModelFile:
    onnx.save(model, folder / "m.onnx")
    return open_model(folder / "m.onnx")


def outputs(model: ModelFile) -> list[np.ndarray]:
    return ort.InferenceSession(str(model.source)).run(None, FEED)  # type: ignore[no-any-return]


def test_nodes_in_branches_are_rewritten_too(tmp_path: Path) -> None:
    """The axes of a mean in an If are a constant around it."""
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("t", "e")]
    mean = helper.make_node("ReduceMean", ["c", "axes"], ["mean"], name="mean")
    then = helper.make_graph([mean, helper.make_node("Add", ["c", "mean"], ["t"])], "then", [], ports[:1])
    otherwise = helper.make_graph([helper.make_node("Relu", ["c"], ["e"])], "else", [], ports[1:])
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    branch = helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=otherwise)
    model = opened(saved_in(20, [conv(), yes, branch]), tmp_path)
    older = at_opset(model, 17, "It")
    assert older.opset == 17 and older.path == model.path
    np.testing.assert_array_equal(outputs(older)[0], outputs(model)[0])


def test_a_model_of_an_opset_that_is_read_is_itself(tmp_path: Path) -> None:
    model = opened(saved_in(17, [conv("y")]), tmp_path)
    assert at_opset(model, 17, "It") is model


def test_replaced_weights_stay_replaced(tmp_path: Path) -> None:
    model = opened(saved_in(20, [conv("y")]), tmp_path)
    zeros = np.zeros((3, 3, 3, 3), np.float32)
    older = at_opset(model.with_weights({"w": zeros}), 17, "It").load()
    assert not onnx.numpy_helper.to_array(older.graph.initializer[0]).any()


@pytest.mark.parametrize(
    ("kind", "stated", "opset", "same"),
    [
        ("Mod", 28, 21, False),
        ("Mod", 22, 17, True),
        ("GroupNormalization", 21, 20, False),
        ("GridSample", 20, 17, False),
        ("Gelu", 20, 17, False),
        ("Relu", 22, 13, True),
    ],
)
def test_an_operator_with_another_meaning_is_another(kind: str, stated: int, opset: int, same: bool) -> None:
    assert is_same_in(helper.make_node(kind, ["x"], ["y"]), stated, opset) == same


def test_an_uneven_split_that_counts_its_outputs_is_refused(tmp_path: Path) -> None:
    """Before opset 18 a Split without sizes is even."""
    split = helper.make_node("Split", ["c"], ["a", "b"], axis=1, num_outputs=2)
    model = opened(saved_in(18, [conv(), split, helper.make_node("Concat", ["a", "b"], ["y"], axis=1)]), tmp_path)
    with pytest.raises(TargetRefuses, match=r"\(Split\)"):
        at_opset(model, 17, "It")


def test_nodes_that_onnx_does_not_know_stay_as_they_are(tmp_path: Path) -> None:
    """A plugin without a domain, in the graph and in a branch."""
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("t", "e")]
    then = helper.make_graph([helper.make_node("Blur_TRT", ["c"], ["t"], wide=3)], "then", [], ports[:1])
    otherwise = helper.make_graph([helper.make_node("Relu", ["c"], ["e"])], "else", [], ports[1:])
    nodes = [
        conv(),
        helper.make_node("Blur_TRT", ["c"], ["b"], wide=5),
        helper.make_node("ReduceMax", ["b"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "m"], ["yes"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=otherwise),
    ]
    older = at_opset(opened(saved_in(21, nodes), tmp_path), 17, "It")
    assert older.opset == 17
    for proto in (older.load(), converted(saved_in(11, nodes), 13), converted(older.load(), 16)):
        found = [node for graph in graphs_of(proto.graph) for node in graph.node if node.op_type == "Blur_TRT"]
        assert sorted((node.domain, node.attribute[0].i) for node in found) == [("", 3), ("", 5)]
        assert [own.domain for own in proto.opset_import] == [""]
