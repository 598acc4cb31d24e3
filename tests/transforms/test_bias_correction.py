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
    correct_biases(graph, {"y"}, {layer.input[0]: np.ones(SIZE)}, lambda weight, axis: np.rint(weight))
    bias = next(numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == "b")
    assert bool(bias.any()) == corrected
