from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

from quantkit.graph.graph import Graph
from quantkit.graph.operators import never_negative
from tests.golden.cases import mixed

Node = tuple[str, list[str], dict[str, object]]


def graph_of(*nodes: Node) -> Graph:
    """Nodes whose outputs are y0, y1, ...; x is the input, zero, low and weights (some negative) are constants."""
    constants = {"zero": 0.0, "low": -0.5, "six": 6.0}
    own = helper.make_graph(
        [helper.make_node(kind, inputs, [f"y{i}"], **rest) for i, (kind, inputs, rest) in enumerate(nodes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info(f"y{len(nodes) - 1}", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()],
    )
    return Graph(own)


RELU: Node = ("Relu", ["x"], {})


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ((RELU,), {"y0"}),
        ((("Clip", ["x", "zero", "six"], {}),), {"y0"}),
        ((("Clip", ["x", "low", "six"], {}),), set()),
        ((("Clip", ["x", "", "six"], {}),), set()),
        ((("Clip", ["x"], {"min": 0.0, "max": 6.0}),), {"y0"}),
        ((("Clip", ["x", "x", "six"], {}),), set()),
        ((RELU, ("Clip", ["y0", "low", "six"], {})), {"y0", "y1"}),
        ((RELU, ("MaxPool", ["y0"], {"kernel_shape": [2, 2]}), ("Flatten", ["y1"], {})), {"y0", "y1", "y2"}),
        ((("MaxPool", ["x"], {"kernel_shape": [2, 2]}),), set()),
        ((RELU, ("Concat", ["y0", "y0"], {"axis": 1})), {"y0", "y1"}),
        ((RELU, ("Concat", ["y0", "x"], {"axis": 1})), {"y0"}),
        ((RELU, ("Add", ["y0", "six"], {})), {"y0", "y1"}),
        ((RELU, ("Add", ["y0", "low"], {})), {"y0"}),
        ((RELU, ("Neg", ["y0"], {})), {"y0"}),
        ((("Sigmoid", ["x"], {}), ("Mul", ["x", "y0"], {})), {"y0"}),
        ((("Relu", ["x"], {"domain": "other"}),), set()),
    ],
)
def test_what_is_never_negative(nodes: tuple[Node, ...], expected: set[str]) -> None:
    assert never_negative(graph_of(*nodes)) == expected


def test_what_is_said_never_to_be_negative_is_not() -> None:
    data, inputs = mixed()
    model = onnx.ModelProto.FromString(data)
    names = sorted(never_negative(Graph(model.graph)))
    assert names == ["averaged", "clipped", "flat", "gate", "global", "pooled", "stem_relu", "sum_relu"]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for sample in inputs[:20]:
        assert all(array.min() >= 0 for array in session.run(None, {"input": sample[None]}))
