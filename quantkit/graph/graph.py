"""A read-only view of an ONNX graph: its constants, and the producer and consumers of each tensor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnx.external_data_helper import uses_external_data

from quantkit.core.errors import BadModel

LARGEST_KEPT = 1024  # the most values of a constant whose data is kept where weights are left out
TYPED_DATA = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


class Use(NamedTuple):
    """A consumer of a tensor: the node, and the position of the tensor among the node's inputs."""

    node: onnx.NodeProto
    position: int


class Graph:
    """A view of a graph as it was when the view was made. After editing the graph, make another view.

    Nodes are the graph's own, in its order. An empty name, which stands for an omitted input or output, has no producer
    and no consumers. Only nodes of this graph count as consumers, not those inside If, Loop and Scan.

    Attributes:
        nodes: The nodes of the graph.
        initializers: The initializers by name, with or without their data; :meth:`array` reads it.
        constants: The initializers and the outputs of Constant nodes, except strings and sparse tensors.
        inputs: The inputs of the graph by name, without those that have an initializer.
        outputs: The names of the graph's outputs.
        captured: Each tensor that a subgraph reads, with the nodes of this graph that hold such a subgraph.
        has_subgraphs: True if a node is an If, a Loop, a Scan or the like.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes: Sequence[onnx.NodeProto] = list(graph.node)
        self.initializers: Mapping[str, onnx.TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        held = {node.output[0]: held_tensor(node) for node in self.nodes if node.op_type == "Constant" and node.output}
        self.constants: Mapping[str, onnx.TensorProto] = {
            **self.initializers,
            **{name: tensor for name, tensor in held.items() if tensor is not None},
        }
        self.inputs: Mapping[str, onnx.ValueInfoProto] = {
            value.name: value for value in graph.input if value.name not in self.initializers
        }
        self.outputs: AbstractSet[str] = {value.name for value in graph.output}
        self._producers = {name: node for node in self.nodes for name in node.output if name}
        self._consumers: dict[str, list[Use]] = defaultdict(list)
        captured: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for position, name in enumerate(node.input):
                if name:
                    self._consumers[name].append(Use(node, position))
            for name in captured_names(node):
                captured[name].append(node)
        self.captured: Mapping[str, Sequence[onnx.NodeProto]] = dict(captured)
        self.has_subgraphs = any(next(subgraphs(node), None) is not None for node in self.nodes)

    def producer(self, name: str) -> onnx.NodeProto | None:
        """Return the node that computes a tensor; None for an input, an initializer or an unknown name."""
        return self._producers.get(name)

    def consumers(self, name: str) -> Sequence[Use]:
        """Return the consumers of a tensor, in graph order; a node that consumes it twice is listed twice."""
        return self._consumers.get(name, ())

    def only_consumer(self, name: str) -> onnx.NodeProto | None:
        """Return the node that consumes a tensor once, if nothing else uses the tensor; None otherwise."""
        uses = self.consumers(name)
        return uses[0].node if len(uses) == 1 and not self.must_keep(name) else None

    def must_keep(self, name: str) -> bool:
        """True if a tensor is a graph output or a subgraph reads it, so that not all its consumers are known."""
        return name in self.outputs or name in self.captured

    def array(self, name: str) -> npt.NDArray[Any] | None:
        """Return the values of a constant; None for other tensors, and if the data is not here (see ``values_of``)."""
        tensor = self.constants.get(name)
        return None if tensor is None else values_of(tensor, name)

    def of_type(self, *op_types: str) -> Iterator[onnx.NodeProto]:
        """Return the nodes of these operators, in graph order."""
        return (node for node in self.nodes if node.op_type in op_types)


def activation_names(graph: Graph) -> list[str]:
    """Return the names of the node outputs that depend on a graph input, in graph order.

    All outputs of nodes with subgraphs are included.
    """
    dependent = set(graph.inputs)
    names = []
    for node in graph.nodes:
        has_subgraph = next(subgraphs(node), None) is not None
        if has_subgraph or any(name in dependent for name in node.input):
            produced = [name for name in node.output if name]
            dependent.update(produced)
            names += produced
    return names


@overload
def attribute(node: onnx.NodeProto, name: str, default: int) -> int: ...
@overload
def attribute(node: onnx.NodeProto, name: str, default: float) -> float: ...
@overload
def attribute(node: onnx.NodeProto, name: str, default: str) -> str: ...
@overload
def attribute(node: onnx.NodeProto, name: str, default: list[int]) -> list[int]: ...
def attribute(node: onnx.NodeProto, name: str, default: int | float | str | list[int]) -> int | float | str | list[int]:
    """Return the value of an attribute.

    Args:
        node: The node.
        name: The name of the attribute.
        default: The value to return if the node lacks the attribute; the attribute is read as a value of its type.

    Returns:
        The value, of the type of ``default``.
    """
    found = next((own for own in node.attribute if own.name == name), None)
    if found is None:
        return default
    if isinstance(default, int):
        return int(found.i)
    if isinstance(default, float):
        return float(found.f)
    if isinstance(default, str):
        return str(found.s.decode(errors="replace"))
    return [int(own) for own in found.ints]


def operand(node: onnx.NodeProto, position: int) -> str:
    """Return the name of the input at a position; empty if the input is omitted."""
    return str(node.input[position]) if position < len(node.input) else ""


def result(node: onnx.NodeProto) -> str:
    """Return the name of the first output; empty if the node has none."""
    return str(node.output[0]) if node.output else ""


def label(node: onnx.NodeProto) -> str:
    """Return the name that messages use for a node: its name, else its first output, else its operator."""
    return str(node.name or result(node) or node.op_type)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs that a node holds, such as the branches of an If and the body of a Loop."""
    for own in node.attribute:
        if own.HasField("g"):
            yield own.g
        yield from own.graphs


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph, and the graphs inside it at any depth."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from graphs_of(inner)


def captured_names(node: onnx.NodeProto) -> set[str]:
    """Return the names that a node's subgraphs read from the graphs around them, at any depth."""
    found: set[str] = set()
    for graph in subgraphs(node):
        read = {value.name for value in graph.output}
        defined = {value.name for value in (*graph.input, *graph.initializer)}
        for inner in graph.node:
            read |= {*inner.input, *captured_names(inner)}
            defined |= set(inner.output)
        found |= read - defined
    return found - {""}


def held_tensor(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """Return the tensor of a Constant node; None for strings and sparse tensors, and for any other node.

    ``value`` is returned itself, not a copy. Numbers (``value_float``, ``value_ints`` and the like) give a new tensor.
    """
    for own in node.attribute if node.op_type == "Constant" else ():
        if own.name == "value":
            return own.t
        if own.name in ("value_float", "value_floats"):
            numbers = own.f if own.name == "value_float" else list(own.floats)
            return numpy_helper.from_array(np.array(numbers, np.float32), result(node))
        if own.name in ("value_int", "value_ints"):
            numbers = own.i if own.name == "value_int" else list(own.ints)
            return numpy_helper.from_array(np.array(numbers, np.int64), result(node))
    return None


def values_of(tensor: onnx.TensorProto, name: str = "") -> npt.NDArray[Any] | None:
    """Return the values of a tensor.

    Args:
        tensor: The tensor.
        name: The name to use in an error, because the tensor of a Constant node has none; empty uses the tensor's own.

    Returns:
        The values; None if they are in an external file or were removed by ``without_weights``.

    Raises:
        BadModel: The tensor is damaged.
    """
    if uses_external_data(tensor):
        return None
    stored = tensor.HasField("raw_data") or any(len(getattr(tensor, field)) for field in TYPED_DATA)
    if not stored and 0 not in tensor.dims:
        return None
    try:
        values: npt.NDArray[Any] = numpy_helper.to_array(tensor)
    except Exception as error:
        called = name or tensor.name
        raise BadModel(f"The constant {called!r} is damaged ({error}).", "Write the model again.") from error
    return values


def drop_unused_constants(graph: onnx.GraphProto) -> None:
    """Remove the initializers that no node, subgraph or graph output reads, and graph inputs that have their names."""
    used = {name for node in graph.node for name in (*node.input, *captured_names(node))}
    used |= {value.name for value in graph.output}
    gone = {tensor.name for tensor in graph.initializer if tensor.name not in used}
    for values in (graph.initializer, graph.input):  # initializers may be inputs, too, which must not be asked for then
        kept = [value for value in values if value.name not in gone]
        del values[:]
        values.extend(kept)


def names_in(graph: onnx.GraphProto) -> set[str]:
    """Return the names of all tensors in a graph and its subgraphs, which share one namespace.

    A tensor that is gone may have left its type and shape behind, so that another of its name would contradict them.
    """
    names = {value.name for value in (*graph.input, *graph.initializer, *graph.output, *graph.value_info)}
    for node in graph.node:
        names |= {*node.input, *node.output}
        for inner in subgraphs(node):
            names |= names_in(inner)
    return names - {""}


def unique_name(taken: Container[str], wanted: str) -> str:
    """Return ``wanted``, with underscores appended until it is not in ``taken``."""
    while wanted in taken:
        wanted += "_"
    return wanted
