"""Activations that gate a tensor by itself, such as HardSwish and SiLU, and what they make of its low values."""

from __future__ import annotations

import math

import onnx

from quantkit.graph.graph import Graph, attribute, operand, result
from quantkit.graph.operators import CLAMPS, clip_bounds, is_default_domain

SIGMOID_CLOSES = -8.0  # x·sigmoid(x) is above -0.003 below it
GELU_CLOSES = -4.0  # x·Φ(x) is above -0.0002 below it
GATED = {"HardSwish": -3.0, "Gelu": GELU_CLOSES, "Swish": SIGMOID_CLOSES, "Mish": SIGMOID_CLOSES}


def closes_below(graph: Graph, name: str) -> float:
    """Return the number below which all consumers of a tensor give the same result; -inf if there is none.

    Args:
        graph: The graph.
        name: The tensor, such as the input of x · HardSigmoid(x), for which the number is -3.
    """
    users = graph.consumers(name)
    if not users or graph.must_keep(name):
        return -math.inf
    nodes = {id(node): node for node, _ in users}
    if all(node.op_type in GATED and is_default_domain(node) for node in nodes.values()):
        return min(GATED[node.op_type] for node in nodes.values())
    products = [node for node in nodes.values() if node.op_type == "Mul"]
    gates = [node for node in nodes.values() if node.op_type != "Mul"]
    if len(products) != 1 or len(gates) != 1:
        return -math.inf
    other = [own for own in products[0].input if own != name]
    return _opens(graph, gates[0], name, other[0]) if len(other) == 1 else -math.inf


def _opens(graph: Graph, node: onnx.NodeProto, name: str, end: str) -> float:
    """Return the value of ``name`` up to which a gate that begins at a node and gives ``end`` is closed, else -inf."""
    shift = 0.0
    if node.op_type == "Add":
        constants = [graph.array(own) for own in node.input if own != name]
        if len(constants) != 1 or constants[0] is None or constants[0].size != 1:
            return -math.inf
        shift = float(constants[0].reshape(-1)[0])
        following = graph.only_consumer(result(node))
        if following is None:
            return -math.inf
        node = following
    closes = _closes(graph, node) - shift
    after = result(node)
    scale = graph.only_consumer(after)
    if after != end and scale is not None and scale.op_type in ("Div", "Mul") and operand(scale, 0) == after:
        after = result(scale) if graph.array(operand(scale, 1)) is not None else after
    return closes if after == end else -math.inf


def _closes(graph: Graph, node: onnx.NodeProto) -> float:
    if not is_default_domain(node):
        return -math.inf
    if node.op_type == "Sigmoid":
        return SIGMOID_CLOSES
    if node.op_type == "HardSigmoid":
        alpha, beta = attribute(node, "alpha", 0.2), attribute(node, "beta", 0.5)
        return -beta / alpha if alpha > 0 else -math.inf
    bounds = clip_bounds(node, graph.constants) if node.op_type in CLAMPS else None
    return 0.0 if bounds is not None and bounds[0] == 0 else -math.inf
