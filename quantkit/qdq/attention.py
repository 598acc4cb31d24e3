"""The parts of an attention: the product that gives the scores, the Softmax, and the product that weighs with it."""

from __future__ import annotations

import onnx

from quantkit.graph.graph import Graph
from quantkit.graph.operators import MATRIX_PRODUCTS, QUANTIZE, moves_values

# What stands between the product that gives scores and their Softmax: a scale, a mask, a cast.
ON_SCORES = frozenset({"Add", "Cast", "Clip", "Div", "Max", "Min", "Mul", "Sub", "Where"})


def softmax_of(graph: Graph, name: str) -> onnx.NodeProto | None:
    """Return the Softmax whose probabilities a tensor holds, moved or cast at most; None if it holds something else.

    PyTorch writes a number in place of NaN behind the Softmax of its scaled_dot_product_attention: IsNaN and Where.
    """
    node = graph.producer(name)
    while node is not None:
        if node.op_type == "Where":
            branches = [own for own in node.input[1:] if own not in graph.constants]
            if len(branches) != 1:
                return None
            node = graph.producer(branches[0])
        elif moves_values(node) or node.op_type == "Cast":
            node = graph.producer(node.input[0])
        else:
            break
    return node if node is not None and node.op_type == "Softmax" else None


def scores_of(graph: Graph, softmax: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return the products of two activations that a Softmax takes, scaled, masked or moved at most.

    A layer with a weight is none of them, such as one that computes a bias to be added to the scores.
    """
    found: dict[str, onnx.NodeProto] = {}
    waiting, seen = [softmax.input[0]], {softmax.input[0]}
    while waiting:
        node = graph.producer(waiting.pop())
        if node is None:
            continue
        if node.op_type in MATRIX_PRODUCTS:
            if not any(name in graph.constants for name in node.input[:2]):
                found[node.name] = node
        elif node.op_type in ON_SCORES or moves_values(node):
            fresh = [name for name in node.input if name and name not in seen]
            waiting += fresh
            seen.update(fresh)
    return list(found.values())


def rounded_probabilities(model: onnx.ModelProto) -> list[str]:
    """Return the probabilities that a Q/DQ model rounds."""
    graph = Graph(model.graph)
    rounded = (node.input[0] for node in graph.of_type(QUANTIZE))
    return list(dict.fromkeys(name for name in rounded if softmax_of(graph, name) is not None))
