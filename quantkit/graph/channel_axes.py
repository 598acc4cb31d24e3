"""The axis along which an activation's channels lie."""

from __future__ import annotations

from collections.abc import Callable

from quantkit.graph.graph import Graph, operand
from quantkit.graph.operators import CLAMPS

FIRST = {"Conv", "ConvTranspose", "BatchNormalization", "InstanceNormalization", "GlobalAveragePool", "GlobalMaxPool",
         "MaxPool", "AveragePool", "PRelu", "DepthToSpace", "SpaceToDepth", "Resize"}  # fmt: skip
LAST = {"MatMul", "Gemm", "LayerNormalization", "SkipLayerNormalization"}
SAME = {"Add", "BiasGelu", "Cast", "Clip", "Div", "Dropout", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish",
        "Identity", "LeakyRelu", "Mul", "Pow", "Relu", "Sigmoid", "Sqrt", "Sub", "Tanh"}  # fmt: skip


def channel_axes(graph: Graph) -> dict[str, int]:
    """Find the channel axis of activations.

    The axis is 1 for the first input and output of convolutions and the like, and -1 for those of matrix products and
    layer normalizations; elementwise operators pass it on to their other tensors.

    Args:
        graph: The graph, in topological order.

    Returns:
        The axis by tensor, without tensors that no such operator reaches: there, the rank has to decide.
    """
    axes: dict[str, int] = {}
    for node in graph.nodes:
        axis = 1 if node.op_type in FIRST else -1 if node.op_type in LAST else 0
        if axis:
            for name in (*node.input[:1], *node.output[:1]):
                axes.setdefault(name, axis)
    for nodes in (graph.nodes, reversed(graph.nodes)):  # the graph is sorted, so one pass in each direction is enough
        for node in nodes:
            if node.op_type not in SAME:
                continue
            known = [axes[name] for name in (*node.output, *node.input) if name in axes]
            for name in (*node.input, *node.output) if known else ():
                axes.setdefault(name, known[0])
    return axes


def counted_along(graph: Graph) -> Callable[[str], set[int]]:
    """Return a function from a tensor's name to the axes along which its channels may have been counted, mostly one.

    There are two axes if a ReLU or Clip, which may be counted together with its input, has another axis than that
    input. 0 stands for an axis that only the tensor's rank decided.
    """
    axes = channel_axes(graph)

    def along(name: str) -> set[int]:
        node = graph.producer(name)
        source = operand(node, 0) if node is not None and node.op_type in CLAMPS else name
        return {axes.get(own, 0) for own in (name, source)}

    return along
