"""A floating-point model divided into segments, each of which starts with a node that may read rounded values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.errors import BadModel
from quantkit.graph.graph import captured_names
from quantkit.graph.model_file import without_weights
from quantkit.pipeline.simulation.differences import Differences, Read
from quantkit.pipeline.simulation.units import Units, ordered
from quantkit.runtime.session import cpu_session, give_back_memory

FREED_AT_ONCE = 32 * 2**20  # bytes of loaded models after which memory is given back; it takes milliseconds
ROUNDED = "_as_read"  # ends the names of inputs that are fed a tensor rounded or not


@dataclass(frozen=True)
class Feed:
    """An input of a segment.

    Attributes:
        name: Its name.
        tensor: The tensor that it is fed.
        read: How the tensor is rounded when the reader's unit is quantized; None if it never is.
        owner: The number of that unit; -1 without one.
    """

    name: str
    tensor: str
    read: Read | None = None
    owner: int = -1


@dataclass(frozen=True, eq=False)
class Segment:
    """Some nodes of a model, as a model of their own.

    Attributes:
        feeds: Its inputs.
        outputs: The tensors that later segments or the user read.
        unit: The number of the unit whose weight and bias it holds; -1 without one.
        last: The tensors that no later segment reads.
        floating: The segment with the floating-point model's constants, on one thread.
        quantized: The segment with the quantized model's constants; the same session if they are the same.
    """

    feeds: tuple[Feed, ...]
    outputs: tuple[str, ...]
    unit: int
    last: frozenset[str]
    floating: ort.InferenceSession
    quantized: ort.InferenceSession


def segments_of(model: onnx.ModelProto, found: Differences, units: Units, optimized: bool = True) -> list[Segment]:
    """Divide a model, and load the parts.

    Args:
        model: The floating-point model.
        found: What the Q/DQ model does otherwise.
        units: Whose rounding that is.
        optimized: False computes node by node, as the graph says.

    Returns:
        The segments, in the order in which they are computed.

    Raises:
        BadModel: A value between two segments is no tensor, or onnxruntime cannot load a segment.
    """
    return _Division(model, found, units, optimized).segments()


class _Division:
    def __init__(self, model: onnx.ModelProto, found: Differences, units: Units, optimized: bool) -> None:
        self._model, self._found, self._units, self._optimized = model, found, units, optimized
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._reads = {(read.node, read.position): read for read in found.reads if read.position >= 0}
        self._captured = {(read.node, read.tensor): read for read in found.reads if read.node and read.position < 0}
        self._outputs = [value.name for value in model.graph.output]
        self._freed = 0  # bytes of models that were loaded since memory was given back

    def segments(self) -> list[Segment]:
        groups: list[list[onnx.NodeProto]] = []
        heads = {read.node for read in self._found.reads} | set(self._found.constants)
        for node in ordered(list(self._model.graph.node), self._units.bias_of):
            if not groups or (node.name in heads and node.name not in self._units.bias_of):
                groups.append([])
            groups[-1].append(node)
        feeds = [self._feeds(group) for group in groups]
        read_in: dict[str, int] = {}  # the last segment that reads a tensor
        for number, own in enumerate(feeds):
            read_in |= {feed.tensor: number for feed in own}
        read_in |= dict.fromkeys(self._outputs, len(groups))
        outputs = [
            tuple(name for node in group for name in node.output if read_in.get(name, -1) > number)
            for number, group in enumerate(groups)
        ]
        types = _types(self._model, {name for own in outputs for name in own})
        return [
            Segment(
                feeds[number],
                outputs[number],
                next((self._units.of_node[n.name] for n in group if n.name in self._units.of_node), -1),
                frozenset(feed.tensor for feed in feeds[number] if read_in[feed.tensor] == number),
                *self._sessions(group, feeds[number], outputs[number], types),
            )
            for number, group in enumerate(groups)
        ]

    def _feeds(self, group: Sequence[onnx.NodeProto]) -> tuple[Feed, ...]:
        made = {name for node in group for name in node.output}
        found: dict[str, Feed] = {}
        for node in group:
            for position, name in enumerate(node.input):
                if not name or name in made or name in self._constants:
                    continue
                read = self._reads.get((node.name, position))
                feed = Feed(name, name) if read is None else self._rounded(f"{name}{ROUNDED}", read)
                found.setdefault(feed.name, feed)
            for name in sorted(captured_names(node) - made - self._constants.keys()):
                read = self._captured.get((node.name, name))
                # A subgraph keeps the tensor's name, which all nodes of the segment then read alike.
                if read is not None:
                    found[name] = self._rounded(name, read)
                else:
                    found.setdefault(name, Feed(name, name))
        return tuple(found.values())

    def _rounded(self, name: str, read: Read) -> Feed:
        return Feed(name, read.tensor, read, self._units.of_read[read])

    def _sessions(
        self, group: Sequence[onnx.NodeProto], feeds: Sequence[Feed], outputs: Sequence[str], types: Mapping[str, int]
    ) -> tuple[ort.InferenceSession, ort.InferenceSession]:
        """Load a segment with the constants of both models."""
        nodes: list[onnx.NodeProto] = []
        constants: dict[str, onnx.TensorProto] = {}
        changed: dict[str, npt.NDArray[np.generic]] = {}
        for original in group:
            node = onnx.NodeProto()
            node.CopyFrom(original)
            for position, name in enumerate(original.input):
                if (original.name, position) in self._reads:
                    node.input[position] = f"{name}{ROUNDED}"
                own = self._found.constants.get(original.name, {}).get(position)
                if own is not None:
                    # Another node of the segment may read the same constant as it was.
                    node.input[position] = renamed = f"{name} of {original.name}"
                    constants[renamed] = onnx.TensorProto()
                    constants[renamed].CopyFrom(self._constants[name])
                    constants[renamed].name = renamed
                    changed[renamed] = own
                elif name in self._constants:
                    constants[name] = self._constants[name]
            constants |= {name: self._constants[name] for name in captured_names(node) if name in self._constants}
            nodes.append(node)
        graph = helper.make_graph(
            nodes,
            "segment",
            [helper.make_tensor_value_info(feed.name, types[feed.tensor], None) for feed in feeds],
            [helper.make_tensor_value_info(name, types[name], None) for name in outputs],
            list(constants.values()),
        )
        model = onnx.ModelProto(ir_version=self._model.ir_version, graph=graph)
        model.opset_import.extend(self._model.opset_import)
        floating = self._loaded(model)
        if not changed:
            return floating, floating
        for tensor in model.graph.initializer:
            if tensor.name in changed:
                tensor.CopyFrom(numpy_helper.from_array(changed[tensor.name], tensor.name))
        return floating, self._loaded(model)

    def _loaded(self, model: onnx.ModelProto) -> ort.InferenceSession:
        data = model.SerializeToString()
        self._freed += len(data)
        session = cpu_session(data, threads=1, optimized=self._optimized, arena=False)
        if self._freed > FREED_AT_ONCE:
            self._freed = 0
            give_back_memory()
        return session


def _types(model: onnx.ModelProto, names: Collection[str]) -> dict[str, int]:
    """Return the element type of each tensor, and of the model's inputs."""
    bare = without_weights(model)
    inferred = onnx.shape_inference.infer_shapes(bare).graph
    known = {
        value.name: value.type.tensor_type.elem_type
        for value in (*model.graph.input, *inferred.value_info, *inferred.output)
        if value.type.HasField("tensor_type") and value.type.tensor_type.elem_type
    }
    unknown = sorted(set(names) - known.keys())
    if unknown:  # operators that onnx does not know; onnxruntime infers what is declared by name alone
        asked = onnx.ModelProto()
        asked.CopyFrom(model)
        asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in unknown)
        session = cpu_session(asked.SerializeToString(), optimized=False)
        for output in session.get_outputs():
            if output.name in unknown:
                known[output.name] = _element_type(output.name, output.type)
    return known


def _element_type(name: str, text: str) -> int:
    """Return the element type that onnxruntime writes as "tensor(float)"."""
    element = text.removeprefix("tensor(").removesuffix(")")
    kind = element.upper()
    if not text.startswith("tensor(") or kind not in dict(TensorProto.DataType.items()):
        raise BadModel(f"{name} is no tensor ({text}), between layers.", "Its layers cannot be simulated one by one.")
    return int(TensorProto.DataType.Value(kind))
