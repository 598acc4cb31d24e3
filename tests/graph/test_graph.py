"""The view of a graph: what is a constant, what sees a tensor, and what subgraphs read from around them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from quantkit.core.errors import BadModel
from quantkit.graph.graph import (
    Graph,
    activation_names,
    attribute,
    captured_names,
    drop_unused_constants,
    label,
    names_in,
    operand,
    result,
    subgraphs,
    unique_name,
    values_of,
)

BRANCHES = """
    g (float[4] x, bool c) => (float[4] y) <float[4] w = {1, 2, 3, 4}, float[4] unused = {0, 0, 0, 0}> {
        a = Relu (x)
        b = Neg (a)
        i = If (c) <
            then_branch = yes () => (float[4] t) <float[4] own = {5, 6, 7, 8}> {
                s = Add (b, own)
                t = Mul (s, w)
            },
            else_branch = no () => (float[4] e) {
                k = Identity (c)
                e = If (k) <
                    then_branch = deep () => (float[4] d) { d = Neg (a) },
                    else_branch = through () => (float[4] x) { z = Neg (k) }
                >
            }
        >
        y = Add (i, b)
    }
"""


def graph_of(text: str) -> onnx.GraphProto:
    return parser.parse_graph(text)


def view_of(text: str) -> Graph:
    return Graph(graph_of(text))


def test_each_tensor_has_its_producer_and_its_consumers_in_graph_order() -> None:
    view = view_of("g (float[4] x) => (float[4] y) { a = Relu (x)  b = Add (a, a)  y = Sub (b, a) }")
    relu, add, sub = view.nodes
    assert (view.producer("a"), view.producer("y")) == (relu, sub)
    assert view.producer("x") is None and view.producer("nowhere") is None
    assert list(view.consumers("a")) == [(add, 0), (add, 1), (sub, 1)]
    assert list(view.consumers("y")) == list(view.consumers("nowhere")) == []
    assert list(view.of_type("Add", "Relu")) == [relu, add]


def test_the_nodes_are_the_graphs_own() -> None:
    graph = graph_of("g (float[4] x) => (float[4] y) { a = Relu (x)  y = Neg (a) }")
    view = Graph(graph)
    node = view.consumers("a")[0].node
    assert node is view.nodes[1] is view.producer("y")
    node.name = "edited"
    assert graph.node[1].name == "edited"


def test_names_that_are_left_out_are_nobodys() -> None:
    view = view_of("g (float[4] x, float h) => (float[4] y) { a, = Dropout (x)  y = Clip (a, , h) }")
    assert view.producer("") is None
    assert list(view.consumers("")) == []
    assert list(view.consumers("h")) == [(view.nodes[1], 2)]


def test_an_input_with_an_initializer_is_a_constant_and_no_input() -> None:
    view = view_of("g (float[4] x, float[4] w) => (float[4] y) <float[4] w = {1, 2, 3, 4}> { y = Add (x, w) }")
    assert list(view.inputs) == ["x"]
    assert list(view.initializers) == list(view.constants) == ["w"]
    assert view.inputs["x"].type.tensor_type.shape.dim[0].dim_value == 4


def test_constant_nodes_hold_tensors_and_numbers() -> None:
    view = view_of(
        """g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> {
            tensor = Constant <value = float[2] {3, 4}> ()
            one = Constant <value_float = 0.5> ()
            some = Constant <value_floats = [0.5, 2.0]> ()
            number = Constant <value_int = 7> ()
            axes = Constant <value_ints = [0, 1]> ()
            text = Constant <value_string = "no"> ()
            y = Add (x, w)
        }"""
    )
    assert list(view.initializers) == ["w"]
    assert list(view.constants) == ["w", "tensor", "one", "some", "number", "axes"]
    held = {name: view.array(name) for name in view.constants}
    expected = {"w": [1, 2], "tensor": [3, 4], "one": 0.5, "some": [0.5, 2], "number": 7, "axes": [0, 1]}
    for name, values in held.items():
        assert values is not None and values.tolist() == expected[name]
        assert values.dtype == (np.int64 if name in ("number", "axes") else np.float32)
    assert view.array("x") is None and view.array("text") is None


def test_the_tensor_of_a_constant_node_can_be_edited_in_place() -> None:
    graph = graph_of("g (float x) => (float y) { c = Constant <value = float {3}> ()  y = Add (x, c) }")
    Graph(graph).constants["c"].CopyFrom(numpy_helper.from_array(np.float32(8)))
    assert Graph(graph).array("c") == 8


def test_data_that_is_not_here_is_none_and_never_zeros() -> None:
    stripped = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3])
    assert values_of(stripped) is None
    outside = numpy_helper.from_array(np.ones(3, np.float32), "w")
    onnx.external_data_helper.set_external_data(outside, "w.data")
    outside.ClearField("raw_data")
    assert values_of(outside) is None
    outside.raw_data = bytes(12)  # as it is after loading, with the note on its file still there
    assert values_of(outside) is None
    for empty in (numpy_helper.from_array(np.zeros((0, 3), np.float32)), onnx.TensorProto(data_type=1, dims=[0, 3])):
        values = values_of(empty)
        assert values is not None and values.shape == (0, 3)


def test_typed_and_raw_data_are_both_read() -> None:
    typed = helper.make_tensor("t", TensorProto.INT8, [2], [-3, 4])
    raw = numpy_helper.from_array(np.array([-3, 4], np.int8), "t")
    assert not typed.HasField("raw_data") and raw.HasField("raw_data")
    for tensor in (typed, raw):
        values = values_of(tensor)
        assert values is not None and values.tolist() == [-3, 4]


def test_a_damaged_constant_is_an_error_with_its_name() -> None:
    damaged = onnx.TensorProto(data_type=TensorProto.FLOAT, dims=[4], raw_data=b"abc")
    node = helper.make_node("Constant", [], ["c"], value=damaged)
    with pytest.raises(BadModel, match="'c' is damaged"):
        Graph(helper.make_graph([node], "g", [], [])).array("c")


def test_only_names_from_outside_are_captured_at_any_depth() -> None:
    view = view_of(BRANCHES)
    branch = view.nodes[2]
    assert captured_names(branch) == {"a", "b", "c", "w", "x"}  # x: a branch gives it as it stands
    assert set(view.captured) == captured_names(branch)
    assert all(list(nodes) == [branch] for nodes in view.captured.values())
    assert [graph.name for graph in subgraphs(branch)] == ["yes", "no"]
    nested = next(node for graph in subgraphs(branch) for node in graph.node if node.op_type == "If")
    assert captured_names(nested) == {"a", "k", "x"}  # k is the outer branch's own
    assert captured_names(view.nodes[0]) == set()


def test_what_a_subgraph_defines_is_not_captured_in_whatever_order_its_nodes_stand() -> None:
    branch = graph_of("b () => (float t) { t = Neg (s)  s = Relu (outer) }")
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    assert captured_names(node) == {"outer"}


def test_the_state_of_a_loop_is_its_own() -> None:
    body = graph_of("b (int64 n, bool go, float[4] h) => (bool more, float[4] next) { more = Identity (go) "
                    " next = Add (h, w) }")  # fmt: skip
    loop = helper.make_node("Loop", ["trips", "", "x"], ["y"], body=body)
    assert captured_names(loop) == {"w"}


def test_a_tensor_has_an_only_consumer_if_nothing_else_sees_it() -> None:
    view = view_of(
        """g (float[4] x, bool c) => (float[4] y, float[4] seen) {
            alone = Relu (x)
            twice = Neg (alone)
            both = Add (twice, twice)
            seen = Relu (both)
            read = Neg (seen)
            i = If (c) <then_branch = a () => (float[4] t) { t = Neg (read) },
                        else_branch = b () => (float[4] e) { e = Identity (read) }>
            y = Add (read, i)
        }"""
    )
    assert view.only_consumer("alone") is view.producer("twice")
    assert view.only_consumer("both") is view.producer("seen")
    assert view.only_consumer("twice") is None  # one node, but two uses
    assert view.only_consumer("seen") is None  # a graph output
    assert view.only_consumer("read") is None  # one use, and a subgraph
    assert view.only_consumer("y") is None
    assert [name for name in ("alone", "seen", "read", "i", "y") if view.must_keep(name)] == ["seen", "read", "y"]


def test_activations_depend_on_an_input_or_come_from_a_node_with_a_subgraph() -> None:
    view = view_of(
        """g (float[4] x, float[4] w) => (float[4] y) <float[4] w = {1, 2, 3, 4}, bool c = {1}> {
            scaled = Mul (w, w)
            a, = Dropout (x)
            b = Add (a, scaled)
            i = If (c) <then_branch = t () => (float[4] p) { p = Neg (b) },
                        else_branch = e () => (float[4] q) { q = Relu (b) }>
            fixed = Neg (scaled)
            y = Add (i, fixed)
        }"""
    )
    assert activation_names(view) == ["a", "b", "i", "y"]


def test_attributes_have_the_type_of_their_default() -> None:
    node = helper.make_node("Any", [], [], axis=-1, alpha=0.5, mode="linear", perm=[1, 0])
    assert (attribute(node, "axis", 1), attribute(node, "alpha", 1.0)) == (-1, 0.5)
    assert (attribute(node, "mode", "nearest"), attribute(node, "perm", [])) == ("linear", [1, 0])
    bare = onnx.NodeProto()
    assert (attribute(bare, "axis", 1), attribute(bare, "alpha", 1.0)) == (1, 1.0)
    assert (attribute(bare, "mode", "nearest"), attribute(bare, "perm", [])) == ("nearest", [])


def test_operands_results_and_labels_are_empty_where_they_are_left_out() -> None:
    node = helper.make_node("Clip", ["x", "", "high"], ["y"])
    assert [operand(node, position) for position in range(4)] == ["x", "", "high", ""]
    assert (result(node), result(onnx.NodeProto())) == ("y", "")
    assert label(node) == "y"
    assert label(helper.make_node("Clip", [], ["y"], name="clip")) == "clip"
    assert label(helper.make_node("Clip", [], [])) == "Clip"


def test_only_constants_that_nothing_reads_are_dropped() -> None:
    graph = graph_of(BRANCHES)
    graph.initializer.append(numpy_helper.from_array(np.zeros(4, np.float32), "given"))
    graph.output.append(helper.make_tensor_value_info("given", TensorProto.FLOAT, [4]))
    drop_unused_constants(graph)
    assert [tensor.name for tensor in graph.initializer] == ["w", "given"]  # a branch reads w


def test_a_new_name_is_none_of_the_graphs_nor_its_subgraphs() -> None:
    taken = names_in(graph_of(BRANCHES))
    assert taken == set("xcywabitskedz") | {"unused", "own"}
    assert unique_name(taken, "new") == "new"
    assert unique_name({"d", "d_"}, "d") == "d__"


def test_the_name_of_a_tensor_that_is_gone_is_taken_while_its_shape_is_declared() -> None:
    graph = graph_of(BRANCHES)
    graph.value_info.append(helper.make_tensor_value_info("gone", TensorProto.FLOAT, [1, 4]))
    assert "gone" in names_in(graph)
