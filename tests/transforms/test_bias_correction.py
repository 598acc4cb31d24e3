"""Biases are corrected by means of the channels that a layer adds up, and by no others."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.transforms.bias_correction import correct_biases

SIZE = 8  # of channels, tokens and width alike, so that no shape tells one axis from another
RNG = np.random.default_rng(2)


def node(kind: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name=output, **attributes)


NORM = node("LayerNormalization", "x one zero", "n", axis=-1)
STEM = node("Conv", "x w4 b0", "n")
# What the layer "y" takes is counted along the last axis after a LayerNormalization, along axis 1 after a Conv.
CASES = {
    "a Conv after a Conv": (True, [STEM, node("Conv", "n w4 b", "y")]),
    "a Conv behind a ReLU": (True, [STEM, node("Relu", "n", "r"), node("Conv", "r w4 b", "y")]),
    "a MatMul of tokens": (True, [NORM, node("MatMul", "n w2", "y"), node("Add", "y b", "z")]),
    "a Gemm after a BatchNormalization": (
        True,
        [node("BatchNormalization", "x one zero zero one", "n"), node("Gemm", "n w2 b", "y", transB=1)],
    ),
    "a Conv over tokens": (False, [NORM, node("Conv", "n w3 b", "y")]),
    "a Conv over rectified tokens": (False, [NORM, node("Relu", "n", "r"), node("Conv", "r w3 b", "y")]),
    "a MatMul over an image's width": (False, [STEM, node("MatMul", "n w2", "y"), node("Add", "y b", "z")]),
    "a MatMul over the width behind a Clip": (
        False,
        [STEM, node("Clip", "n low high", "r"), node("MatMul", "r w2", "y"), node("Add", "y b", "z")],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_means_are_used_along_the_axis_they_were_counted_on(name: str) -> None:
    corrected, nodes = CASES[name]
    arrays = {
        **{f"w{rank}": RNG.standard_normal((SIZE, SIZE, *[1] * (rank - 2))) for rank in (2, 3, 4)},
        **dict.fromkeys(("b", "b0", "zero"), np.zeros(SIZE)),
        **{"one": np.ones(SIZE), "low": np.float64(0), "high": np.float64(6)},
    }
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("x", nodes[-1].output[0])]
    constants = [numpy_helper.from_array(np.asarray(a, np.float32), n) for n, a in arrays.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    layer = next(own for own in graph.node if own.name == "y")
    correct_biases(graph, {"y"}, {layer.input[0]: np.ones(SIZE)}, lambda node, weight, axis: np.rint(weight))
    bias = next(numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == "b")
    assert bool(bias.any()) == corrected


def test_a_bias_that_a_subgraph_reads_is_left_alone() -> None:
    branch = "{ z = Neg (b) }"
    graph = onnx.parser.parse_graph(
        f"""g (float[1,8,2,2] x) => (float[1,8,2,2] y, float[8] z)
        <bool yes = {{1}}, float[8] b = {{0, 0, 0, 0, 0, 0, 0, 0}}> {{
            n = Conv (x, w)
            y = Conv (n, w, b)
            z = If (yes) <then_branch = t () => (float[8] z) {branch}, else_branch = e () => (float[8] z) {branch}>
        }}"""
    )
    graph.node[1].name = "y"
    graph.initializer.append(numpy_helper.from_array(RNG.standard_normal((8, 8, 1, 1)).astype(np.float32), "w"))
    for captured in (True, False):
        if not captured:
            graph.node.remove(graph.node[2])
        correct_biases(graph, {"y"}, {"n": np.ones(SIZE)}, lambda node, weight, axis: np.rint(weight))
        bias = next(numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == "b")
        assert bool(bias.any()) != captured


def test_a_product_with_a_vector_has_no_channels_to_correct() -> None:
    graph = onnx.parser.parse_graph(
        "g (float[4,8] x) => (float[4] z) <float[8] w = {1,2,3,4,5,6,7,8}, float[4] b = {1, 1, 1, 1}> "
        "{ n = Relu (x)  y = MatMul (n, w)  z = Add (y, b) }"
    )
    graph.node[1].name = "y"
    before = graph.SerializeToString()
    correct_biases(graph, {"y"}, {"n": np.ones(SIZE)}, lambda node, weight, axis: np.rint(weight) + 1)
    assert graph.SerializeToString() == before
