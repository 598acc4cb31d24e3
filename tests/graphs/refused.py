"""Models that some parser refuses: custom domains, inside an If, too, newer opsets, operators that ONNX lacks."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPE = [1, 3, 8, 8]


def saved_in(opset: int, nodes: list[onnx.NodeProto], domains: tuple[str, ...] = ()) -> onnx.ModelProto:
    """A model of ``x`` and ``y``, both 1 × 3 × 8 × 8, with a Conv's weight ``w`` and the axes ``axes``."""
    weight = np.random.default_rng(0).standard_normal((3, 3, 3, 3)).astype(np.float32)
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy"]
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.array([2, 3]), "axes")]
    graph = helper.make_graph(nodes, "refused", ports[:1], ports[1:], constants)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(own, 1) for own in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8 if opset < 19 else 10)


def conv(output: str = "c") -> onnx.NodeProto:
    return helper.make_node("Conv", ["x", "w"], [output], name="conv", pads=[1, 1, 1, 1])


def custom() -> onnx.ModelProto:
    """Two operators of the domain com.acme, one of them twice and once inside an If, and ONNX's Det."""
    inner = [
        helper.make_node(kind, ["b"], [output], name=f"inner_{kind}", domain=domain)
        for kind, output, domain in (("Blur", "t", "com.acme"), ("Relu", "e", ""))
    ]
    branches = [
        helper.make_graph(
            [node], node.name, [], [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, SHAPE)]
        )
        for node in inner
    ]
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    nodes = [
        conv(),
        helper.make_node("Blur", ["c"], ["b"], name="blur", domain="com.acme"),
        helper.make_node("Constant", [], ["yes"], name="yes", value=yes),
        helper.make_node("If", ["yes"], ["i"], name="if", then_branch=branches[0], else_branch=branches[1]),
        helper.make_node("Sharpen", ["i"], ["s"], name="sharpen", domain="com.acme"),
        helper.make_node("Unique", ["s"], ["u"], name="unique"),
        helper.make_node("Add", ["s", "b"], ["y"], name="add"),
    ]
    return saved_in(17, nodes, ("com.acme",))


def newer(opset: int = 22) -> onnx.ModelProto:
    """A Conv and a mean of an opset in which the mean takes its axes as an input."""
    mean = helper.make_node("ReduceMean", ["c", "axes"], ["m"], name="mean")
    return saved_in(opset, [conv(), mean, helper.make_node("Add", ["c", "m"], ["y"], name="add")])


def unknown(kind: str = "NoSuchOperator", opset: int = 17) -> onnx.ModelProto:
    """A Conv, and an operator that is not in the opset."""
    return saved_in(opset, [conv(), helper.make_node(kind, ["c"], ["y"], name="odd")])
