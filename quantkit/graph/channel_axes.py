"""Which axis of an activation counts its channels."""

from __future__ import annotations

from collections.abc import Callable

import onnx

FIRST = {"Conv", "ConvTranspose", "BatchNormalization", "InstanceNormalization", "GlobalAveragePool", "GlobalMaxPool",
         "MaxPool", "AveragePool", "PRelu", "DepthToSpace", "SpaceToDepth", "Resize"}  # fmt: skip
LAST = {"MatMul", "Gemm", "LayerNormalization", "SkipLayerNormalization"}
SAME = {"Add", "BiasGelu", "Cast", "Clip", "Div", "Dropout", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish",
        "Identity", "LeakyRelu", "Mul", "Pow", "Relu", "Sigmoid", "Sqrt", "Sub", "Tanh"}  # fmt: skip
CLAMPS = {"Clip", "Relu"}  # counted with what they take, along its axis; see quantkit.graph.clamps


def channel_axes(graph: onnx.GraphProto) -> dict[str, int]:
    """1 for what convolutions take and give, -1 for what matrix products do; elementwise operators pass it on.

    Tensors that neither reaches are left out: their rank has to decide.
    """
    axes: dict[str, int] = {}
    for node in graph.node:
        axis = 1 if node.op_type in FIRST else -1 if node.op_type in LAST else 0
        if axis:
            for name in (*node.input[:1], *node.output[:1]):
                axes.setdefault(name, axis)
    for nodes in (graph.node, reversed(graph.node)):  # graphs are sorted: once forwards, once backwards
        for node in nodes:
            if node.op_type not in SAME:
                continue
            known = [axes[name] for name in (*node.output, *node.input) if name in axes]
            for name in (*node.input, *node.output) if known else ():
                axes.setdefault(name, known[0])
    return axes


def counted_along(graph: onnx.GraphProto) -> Callable[[str], set[int]]:
    """Tells the axes that a tensor's channels may have been counted along, by its name: mostly one.

    Two where a ReLU or Clip, which may be counted with what it takes, is taken along another axis; 0 is for one that
    only the tensor's rank decided.
    """
    axes = channel_axes(graph)
    sources = {node.output[0]: node.input[0] for node in graph.node if node.op_type in CLAMPS}
    return lambda name: {axes.get(own, 0) for own in (name, sources.get(name, name))}
