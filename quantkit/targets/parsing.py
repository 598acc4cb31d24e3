"""What a target's own parser says of a user's model, before anything is calibrated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from quantkit.graph.graph import label
from quantkit.graph.model_file import opset_of
from quantkit.graph.operators import qualified
from quantkit.graph.quantized import graphs_of


@dataclass(frozen=True)
class Fault:
    """What a parser refuses, and where.

    Attributes:
        operator: The operator, with its domain if that is not ONNX's own, such as "com.acme.Blur"; empty if it is not
            an operator that is refused.
        nodes: The names of the nodes.
        what: A sentence on what is wrong.
        hint: A sentence on how to fix it.
    """

    operator: str
    nodes: tuple[str, ...]
    what: str
    hint: str


@dataclass(frozen=True)
class Parsing:
    """What one parser says of a model.

    Attributes:
        parser: The parser and its version, such as "OpenVINO 2026.4.1".
        faults: What it refuses; empty if it takes the model, or was not asked.
        unchecked: Why the parser was not asked; empty if it was.
        hint: How to ask it; empty if it was asked.
    """

    parser: str
    faults: tuple[Fault, ...] = ()
    unchecked: str = ""
    hint: str = ""


def nodes_by_operator(proto: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """Return the nodes of each operator, those in subgraphs and in the model's functions included.

    A call of one of the model's functions is none: the nodes in its body are counted instead.
    """
    functions = {(function.domain, function.name) for function in proto.functions}
    found: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for graph in graphs_of(proto):
        for node in graph.node:
            if (node.domain, node.op_type) not in functions:
                found[qualified(node)].append(node)
    return dict(found)


def refused_operators(
    proto: onnx.ModelProto, operators: Sequence[str], runtime: str, without: str
) -> tuple[Fault, ...]:
    """Make a fault for each operator that a runtime does not know.

    Args:
        proto: The model.
        operators: The operators, as :func:`qualified` writes them.
        runtime: The runtime, for the message.
        without: A sentence on what to do about an operator that the runtime lacks.

    Returns:
        The faults, in the same order.
    """
    places = nodes_by_operator(proto)
    return tuple(
        Fault(
            operator,
            tuple(map(label, places.get(operator, ()))),
            f"{runtime} has no operator {operator}.",
            advice(operator, opset_of(proto), without),
        )
        for operator in operators
    )


def advice(operator: str, opset: int, without: str) -> str:
    """Return a sentence on what to do about an operator that a runtime does not take.

    Args:
        operator: The operator, as :func:`qualified` writes it.
        opset: The version of ONNX's own operators that the model states.
        without: What to do if it is the runtime that lacks it.
    """
    if "." in operator:
        domain = operator.rpartition(".")[0]
        return f"{domain} is not a domain of ONNX's own, so that every runtime needs a plugin for it. {without}"
    since = [
        own.since_version
        for own in onnx.defs.get_all_schemas_with_history()
        if own.name == operator and own.domain == ""
    ]
    if not since:
        return f"ONNX knows no {operator}: export the model without it, or give it the domain of its plugin."
    if min(since) > opset:
        return f"{operator} came with opset {min(since)}, and the model states {opset}: export it with {min(since)}."
    return without
