"""True if a model is a transformer, as NNCF's model type means it."""

from __future__ import annotations

from collections import defaultdict

import onnx

PASSING = {"Dropout", "Cast", "Identity", "Reshape", "Transpose", "Mul", "Where"}
FUSED = {"Attention", "MultiHeadAttention", "GroupQueryAttention"}


def has_attention(graph: onnx.GraphProto) -> bool:
    """True if a Softmax weighs values in a MatMul, or attention is an operator."""
    takers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants.update(node.output)
        for name in node.input:
            takers[name].append(node)
    for node in graph.node:
        if node.op_type in FUSED:
            return True
        waiting, seen = (list(node.output) if node.op_type == "Softmax" else []), set()
        while waiting:
            name = waiting.pop()
            for taker in takers[name]:
                if taker.op_type == "MatMul" and not constants & set(taker.input):
                    return True
                if taker.op_type in PASSING and id(taker) not in seen:
                    seen.add(id(taker))
                    waiting += taker.output
    return False
