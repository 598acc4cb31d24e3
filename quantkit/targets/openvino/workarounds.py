"""A workaround for a fusion that makes OpenVINO's CPU device compute wrong numbers."""

from __future__ import annotations

from typing import Any

from quantkit.graph.graph import Graph, operand
from quantkit.graph.operators import PRODUCTS

MEANS = {"ReduceMean", "ReduceSum", "GlobalAveragePool"}
PASSING = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Identity", "Cast"}
FEATURE_MAP = 4  # dimensions; means of such tensors are computed correctly


def misfused(model: Any, graph: Graph) -> list[str]:
    """Return the outputs of the ONNX nodes that must not be quantized: products that consume a mean over tokens.

    If a scale by channel, such as the gain of a LayerNorm or of SmoothQuant, comes before or after such a mean,
    OpenVINO moves it into the FakeQuantize that follows, whose limits then differ by channel, and the kernel of the
    mean applies them along the wrong axis: a mean-pooled vision transformer outputs noise. This was measured with
    2026.4.1, also for models made by ``nncf.quantize``. The product is the classifier's layer, which costs next to
    nothing in floating point.

    Args:
        model: The FP32 ``openvino.Model`` of the graph.
        graph: The ONNX graph.
    """
    ranks = {
        name: output.get_partial_shape().rank
        for operation in model.get_ops()
        for output in operation.outputs()
        for name in output.get_names()
    }
    found = []
    for node in graph.of_type(*MEANS):
        rank = ranks.get(operand(node, 0))
        if rank is None or rank.is_dynamic or rank.get_length() == FEATURE_MAP:
            continue
        waiting = list(node.output)
        while waiting:
            for user, _ in graph.consumers(waiting.pop()):
                if user.op_type in PRODUCTS:
                    found.append(user.output[0])
                elif user.op_type in PASSING:
                    waiting += user.output
    return list(dict.fromkeys(found))
