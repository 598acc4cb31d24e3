"""Which axis of an activation counts its channels."""

from __future__ import annotations

import onnx

FIRST = {"Conv", "ConvTranspose", "BatchNormalization", "InstanceNormalization", "GlobalAveragePool", "GlobalMaxPool",
         "MaxPool", "AveragePool", "PRelu", "DepthToSpace", "SpaceToDepth", "Resize"}  # fmt: skip
LAST = {"MatMul", "Gemm", "LayerNormalization", "SkipLayerNormalization"}
SAME = {"Add", "BiasGelu", "Cast", "Clip", "Div", "Dropout", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish",
        "Identity", "LeakyRelu", "Mul", "Pow", "Relu", "Sigmoid", "Sqrt", "Sub", "Tanh"}  # fmt: skip


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
