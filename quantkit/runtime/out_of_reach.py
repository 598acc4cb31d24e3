"""What onnxruntime cannot compute of a model: operators that it does not have, such as TensorRT's plugins.

A detector that ends in a plugin's NMS still has every range: what lies in front of the plugin is computed, and what
needs the plugin's outputs is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx

from quantkit.core.errors import BadModel
from quantkit.graph.cpu_kernels import CpuKernels, key_of
from quantkit.graph.graph import Graph, activation_names, captured_names, operand, subgraphs
from quantkit.graph.model_file import opset_of
from quantkit.graph.operators import DEQUANTIZE, QUANTIZE, qualified
from quantkit.runtime.session import cpu_session


class OutOfReach:
    """What onnxruntime cannot compute of a model.

    Args:
        proto: The model; its weights are not read.

    Attributes:
        nodes: The nodes whose operator, or one inside them, onnxruntime does not have.
        operators: The operators that it does not have, each once, with the domain if that is not ONNX's own.
        behind: All nodes that need an output of one, themselves included.
        tensors: The outputs of those.
        outputs: The outputs of the model that are computed.
        given: What ``behind`` reads that depends on the model's inputs, is computed, and is no output of the model;
            where it is read rounded by a pair, as it is in front of the pair.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        self._kernels = CpuKernels(opset_of(proto))
        self._functions = {(own.domain, own.name): own for own in proto.functions}
        self.nodes: list[onnx.NodeProto] = []
        self.behind: list[onnx.NodeProto] = []
        self.tensors: set[str] = set()
        lacking: list[str] = []
        read: list[str] = []
        for node in proto.graph.node:
            own = list(self._lacking(node))
            if own:
                self.nodes.append(node)
                lacking += own
            reads = (*node.input, *sorted(captured_names(node)))
            if own or not self.tensors.isdisjoint(reads):
                self.behind.append(node)
                self.tensors.update(name for name in node.output if name)
                read += reads
        self.operators = list(dict.fromkeys(lacking))
        self.outputs = [value.name for value in proto.graph.output if value.name not in self.tensors]
        self.given = self._given(Graph(proto.graph), read) if self.nodes else []

    def _lacking(self, node: onnx.NodeProto) -> Iterator[str]:
        """Yield the operators of a node, and inside it, that onnxruntime does not have."""
        function = self._functions.get((node.domain, node.op_type))
        inside = [own for graph in subgraphs(node) for own in graph.node] if function is None else function.node
        if function is None and not self._kernels.has(key_of(node)):
            yield qualified(node)
        for own in inside:
            yield from self._lacking(own)

    def _given(self, graph: Graph, read: Iterable[str]) -> list[str]:
        computed = {*activation_names(graph)} - self.tensors - graph.outputs
        return [name for name in dict.fromkeys(_in_front_of_pair(graph, name) for name in read) if name in computed]


def _in_front_of_pair(graph: Graph, tensor: str) -> str:
    """Return the tensor that a pair rounds to the given one; the given one if no pair makes it."""
    for operator in (DEQUANTIZE, QUANTIZE):
        node = graph.producer(tensor)
        if node is None or node.op_type != operator:
            break
        tensor = operand(node, 0)
    return tensor


def out_of_reach(proto: onnx.ModelProto, file: Path | None = None) -> OutOfReach:
    """Find what onnxruntime cannot compute of a model: nothing if it loads the model, whatever its lists say.

    Args:
        proto: The model, with its weights unless they are in ``file``.
        file: The file that it was read from.
    """
    out = OutOfReach(proto)
    if not out.nodes:
        return out
    try:
        cpu_session(bytes(proto.SerializeToString()) if file is None else file)
    except BadModel:
        return out
    return OutOfReach(onnx.ModelProto())


def reduced(proto: onnx.ModelProto, out: OutOfReach, given_too: bool = False) -> onnx.ModelProto:
    """Return a model without what onnxruntime cannot compute.

    Args:
        proto: The model, which is changed unless all of it can be computed.
        out: What is out of reach.
        given_too: True adds as outputs what the removed nodes are given.
    """
    if not out.nodes:
        return proto
    kept = [node for node in proto.graph.node if out.tensors.isdisjoint(node.output)]
    outputs = [value for value in proto.graph.output if value.name not in out.tensors]
    outputs += [onnx.ValueInfoProto(name=name) for name in out.given if given_too]
    for field, values in (("node", kept), ("output", outputs)):
        proto.graph.ClearField(field)
        getattr(proto.graph, field).extend(values)
    return proto


def computable(file: Path, out: OutOfReach, given_too: bool = False) -> bytes:
    """Return a model's file as bytes, without what onnxruntime cannot compute; weights in other files stay there.

    Args:
        file: The file.
        out: What is out of reach.
        given_too: See :func:`reduced`.
    """
    if not out.nodes:
        return file.read_bytes()
    proto = onnx.load(str(file), load_external_data=False)
    return bytes(reduced(proto, out, given_too).SerializeToString())
