"""Transposes on which onnxruntime 1.32 ends its process in FP16.

Its CPU computes an FP16 MatMul in FP32 behind a Cast of its own. If a Transpose comes before and takes the first axis
to the last two, onnxruntime makes one operator of the three, and crashes while the model loads. It does not where the
Transpose is computed in FP32.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto

from quantkit.graph.graph import Graph, attribute, graphs_of, held_tensor, names_in, unique_name

SMALLEST_RANK = 3
PASSING_ON = {"Dropout", "Identity"}  # onnxruntime removes them before


def transpose_in_float(graph: onnx.GraphProto) -> None:
    """Put casts to FP32 and back around the Transposes of an FP16 model, at any depth, that onnxruntime crashes on.

    Args:
        graph: The graph of the FP16 model; it is edited.
    """
    names = names_in(graph)
    halves = {name for own in graphs_of(graph) for name in _half_constants(own)}
    for own in list(graphs_of(graph)):
        view = Graph(own)
        found = {
            node.output[0]
            for node in view.of_type("Transpose")
            if _moves_batch(node) and any(halves & set(user.input) for user in _products(view, node.output[0]))
        }
        nodes = []
        for node in own.node:
            nodes += _in_float(node, names) if set(node.output) & found else [node]
        if found:
            nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
            del own.node[:]
            own.node.extend(nodes)


def _half_constants(graph: onnx.GraphProto) -> Iterator[str]:
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            yield tensor.name
    for node in graph.node:
        held = held_tensor(node)
        if held is not None and held.data_type == TensorProto.FLOAT16:
            yield node.output[0]


def _moves_batch(transpose: onnx.NodeProto) -> bool:
    """True if the order is (1, …, n - 2, 0, n - 1) or (1, …, n - 1, 0)."""
    order = attribute(transpose, "perm", [0])
    rest = [axis for axis in order if axis]
    return len(order) >= SMALLEST_RANK and rest == list(range(1, len(order))) and order.index(0) >= len(order) - 2


def _products(graph: Graph, name: str) -> Iterator[onnx.NodeProto]:
    """Yield the MatMuls that read a tensor, seen through operators that only pass it on."""
    for node, _ in graph.consumers(name):
        if node.op_type == "MatMul":
            yield node
        elif node.op_type in PASSING_ON:
            yield from _products(graph, node.output[0])


def _in_float(transpose: onnx.NodeProto, names: set[str]) -> list[onnx.NodeProto]:
    wide, turned = (unique_name(names, f"{transpose.output[0]}_{part}_float") for part in ("before_in", "in"))
    names |= {wide, turned}
    inside = onnx.NodeProto.FromString(transpose.SerializeToString())
    inside.input[0], inside.output[0] = wide, turned
    return [
        onnx.helper.make_node("Cast", [transpose.input[0]], [wide], name=f"{wide}_cast", to=TensorProto.FLOAT),
        inside,
        onnx.helper.make_node("Cast", [turned], [transpose.output[0]], name=f"{turned}_cast", to=TensorProto.FLOAT16),
    ]
