"""Whose rounding is whose: the units of a quantized model, each of which can be quantized alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from quantkit.graph.fused import fused_outputs
from quantkit.graph.graph import Graph, result
from quantkit.graph.operators import AVERAGE_POOLS, CLAMPS, WEIGHTED
from quantkit.pipeline.simulation.differences import Differences, Read

# The operators that a dialect gives pairs for their own sake: what they read rounded is their own loss.
READERS = WEIGHTED | AVERAGE_POOLS | {"Add", "Concat", "LeakyRelu", "MaxPool", "Mul", "Sigmoid", "Sum"}


@dataclass(frozen=True)
class Unit:
    """A layer that is quantized: what it reads rounded, its weight and its bias.

    Attributes:
        name: The name of the node.
        kind: The operator.
        tensor: Its output in the user's model, behind what is fused into its kernel.
    """

    name: str
    kind: str
    tensor: str


@dataclass(frozen=True, eq=False)
class Units:
    """The units, in the graph's order, and what belongs to each.

    Attributes:
        units: The units.
        of_read: The number of the unit that each read belongs to.
        of_node: The number of the unit whose constants a node has, by the node's name.
        bias_of: The nodes that add the bias of another, each with the name of that one.
    """

    units: tuple[Unit, ...]
    of_read: Mapping[Read, int]
    of_node: Mapping[str, int]
    bias_of: Mapping[str, str]


def units_of(graph: Graph, found: Differences) -> Units:
    """Find the units of a model.

    A rounded tensor belongs to the node that reads it. If that is a graph output, or a node that computes in floating
    point or only moves values, it belongs to the node that computes it, for it is rounded where it is computed.

    Args:
        graph: The floating-point graph.
        found: What is rounded in it.

    Returns:
        The units.
    """
    nodes = {node.name: node for node in graph.nodes}
    bias_of = {
        name: before.name
        for name in found.constants
        if nodes[name].op_type not in WEIGHTED and (before := _product_before(graph, nodes[name])) is not None
    }
    heads = {read.node for read in found.reads if read.node and nodes[read.node].op_type in READERS}
    heads |= {bias_of.get(name, name) for name in found.constants}
    owners = {read: _owner(graph, read, heads, bias_of) for read in found.reads}
    heads |= set(owners.values())
    order = [node.name for node in graph.nodes if node.name in heads]
    numbers = {name: number for number, name in enumerate(order)}
    last = {before: name for name, before in bias_of.items()}
    fused = fused_outputs(graph)

    def unit(name: str) -> Unit:
        tensor = result(nodes[last.get(name, name)])
        return Unit(name, nodes[name].op_type, fused.get(tensor, tensor))

    return Units(
        tuple(map(unit, order)),
        {read: numbers[owner] for read, owner in owners.items()},
        {name: numbers[bias_of.get(name, name)] for name in found.constants},
        bias_of,
    )


def _product_before(graph: Graph, node: onnx.NodeProto) -> onnx.NodeProto | None:
    """Return the weighted node that alone gives a node its values, if there is one."""
    computed = [name for name in node.input if name and name not in graph.constants]
    producer = graph.producer(computed[0]) if len(computed) == 1 else None
    if producer is None or producer.op_type not in WEIGHTED or graph.only_consumer(computed[0]) is None:
        return None
    return producer


def _owner(graph: Graph, read: Read, heads: set[str], bias_of: Mapping[str, str]) -> str:
    """Return the name of the node that a rounded tensor belongs to."""
    if read.node in heads and read.position >= 0:
        return read.node
    giver = graph.producer(read.tensor)
    while giver is not None and giver.name not in heads:
        if giver.name in bias_of:
            return bias_of[giver.name]
        if giver.op_type not in CLAMPS:
            break
        giver = graph.producer(giver.input[0])
    if giver is not None and giver.name in heads:
        return str(giver.name)
    if read.node:
        return read.node
    computed = graph.producer(read.tensor)
    assert computed is not None  # dialects leave a graph output alone that is an input
    return str(computed.name)


def ordered(nodes: Sequence[onnx.NodeProto], bias_of: Mapping[str, str]) -> list[onnx.NodeProto]:
    """Return nodes in an order in which the node that adds a bias follows the one whose bias it is."""
    adds = {before: name for name, before in bias_of.items()}
    by_name = {node.name: node for node in nodes}
    found = []
    for node in nodes:
        if node.name not in bias_of:
            found.append(node)
            if node.name in adds:
                found.append(by_name[adds[node.name]])
    return found
