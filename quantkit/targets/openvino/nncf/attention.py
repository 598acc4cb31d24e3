"""Tells transformers from other models, as NNCF's model type distinguishes them."""

from __future__ import annotations

from quantkit.graph.graph import Graph

PASSING = {"Dropout", "Cast", "Identity", "Reshape", "Transpose", "Mul", "Where"}
FUSED = {"Attention", "MultiHeadAttention", "GroupQueryAttention"}


def has_attention(graph: Graph) -> bool:
    """True if a MatMul weighs values with the output of a Softmax, or if the graph has an attention operator."""
    if next(graph.of_type(*FUSED), None) is not None:
        return True
    waiting = [name for node in graph.of_type("Softmax") for name in node.output]
    seen = set()
    while waiting:
        for user, _ in graph.consumers(waiting.pop()):
            if user.op_type == "MatMul" and not any(name in graph.constants for name in user.input):
                return True
            if user.op_type in PASSING and id(user) not in seen:
                seen.add(id(user))
                waiting += user.output
    return False
