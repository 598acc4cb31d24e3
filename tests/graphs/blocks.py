"""Small graphs of Convs of one pixel and whatever stands between them."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def conv(source: str, weight: str, output: str) -> onnx.NodeProto:
    """A Conv called by its output; ``block`` has weights w0 to w3."""
    return helper.make_node("Conv", [source, weight], [output], name=output)


def sigmoid(source: str, output: str) -> onnx.NodeProto:
    return helper.make_node("Sigmoid", [source], [output], name=output)


def block(*nodes: onnx.NodeProto, channels: int = 16) -> onnx.ModelProto:
    """These nodes from ``input``, of 8x8 pixels, to ``out``."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array((rng.standard_normal((channels, channels, 1, 1)) * 0.2).astype(np.float32), f"w{i}")
        for i in range(4)
    ]
    graph = helper.make_graph(
        list(nodes),
        "block",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, channels, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", "c", "h", "w"])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
