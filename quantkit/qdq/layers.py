"""What a placement makes of each weighted layer, for people to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import onnx

from quantkit.core.layers import Layers
from quantkit.graph.graph import Graph, label, subgraphs
from quantkit.graph.operators import WEIGHTED
from quantkit.qdq.placement import Placement


@dataclass(frozen=True, eq=False)
class Quantized:
    """A Q/DQ model.

    Attributes:
        proto: The model.
        layers: What became of its weighted layers.
        blurred: The attentions that stay in floating point because rounding would leave little of their probabilities:
            by the output of the Softmax, the dB that it would leave.
    """

    proto: onnx.ModelProto
    layers: Layers
    blurred: Mapping[str, float] = field(default_factory=dict)


def layers_of(placement: Placement) -> Layers:
    """Return the weighted layers of a placement's graph, and why those in floating point are."""
    left: dict[str, str] = {}
    total = 0
    for node in placement.graph.nodes:
        if node.op_type in WEIGHTED:
            total += 1
            if node.name not in placement.quantized:
                left[node.name] = placement.left.get(node.name, "nothing around it is in INT8")
    inner = inner_layers(placement.graph)
    return Layers(total + len(inner), left | inner)


def inner_layers(graph: Graph) -> dict[str, str]:
    """Return the weighted layers in subgraphs, which no dialect quantizes, with the reason."""
    left = {}
    for node in graph.nodes:
        for position, inner in enumerate(subgraphs(node)):
            for number, own in enumerate(_weighted(inner)):
                name = f"{label(node)}/{label(own)}"
                name = f"{name} ({position}.{number})" if name in left else name
                left[name] = f"inside a subgraph ({node.op_type})"
    return left


def _weighted(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        if node.op_type in WEIGHTED:
            yield node
        for inner in subgraphs(node):
            yield from _weighted(inner)
