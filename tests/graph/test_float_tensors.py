from __future__ import annotations

from onnx import helper

from quantkit.graph.float_tensors import float_tensors, needed_tensors
from quantkit.graph.graph import Graph
from tests.conftest import tiny_model


def test_float_tensors_are_inputs_and_float_activations() -> None:
    model = tiny_model()
    names = ["input", "conv1", "bn1", "relu1", "conv2", "add", "relu2", "pool", "flat", "logits"]
    assert float_tensors(model) == names
    assert needed_tensors(Graph(model.graph), names) == ["input", "relu1", "flat"]
    model.graph.node.append(helper.make_node("Shape", ["flat"], ["shape"]))
    model.graph.node.append(helper.make_node("MyOwn", ["flat"], ["unknown"], domain="plugins"))
    model.opset_import.append(helper.make_opsetid("plugins", 1))
    assert float_tensors(model) == [*names, "unknown"]
