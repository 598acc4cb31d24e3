"""The part of a model in front of operators that onnxruntime does not have, such as TensorRT's plugins.

A detector that ends in a plugin's NMS still has every range: what lies in front of the plugin is computed, and what
needs the plugin's outputs is not.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import onnx

from quantkit.core.errors import BadModel
from quantkit.graph.graph import captured_names, subgraphs
from quantkit.graph.operators import is_default_domain, qualified
from quantkit.runtime.session import cpu_session

PROVIDER = "CPUExecutionProvider"
HELD = "Constant"  # has no kernel, because its values become an initializer

Key = tuple[str, str]
"""The domain, "" for ONNX's own, and the name of an operator."""


class Kernels:
    """The operators that onnxruntime's CPU computes for models of one opset.

    Args:
        opset: The version of ONNX's own operators.
    """

    def __init__(self, opset: int) -> None:
        kernels, schemas, composed = _known()
        stated = {"": opset}  # operators of other domains are all of version 1
        defined = {key for key, since in schemas if since <= stated.get(key[0], since)}
        self._computed = defined & (kernels | composed)

    def has(self, key: Key) -> bool:
        """True if there is a kernel for the operator, or a definition by others."""
        return key in self._computed


@lru_cache(maxsize=1)
def _known() -> tuple[frozenset[Key], frozenset[tuple[Key, int]], frozenset[Key]]:
    """Return the operators with a CPU kernel, those with a schema and its version, and those made of others."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        frozenset((own.domain, own.op_name) for own in state.get_all_opkernel_def() if own.provider == PROVIDER),
        frozenset(((own.domain, own.name), own.since_version) for own in state.get_all_operator_schema()),
        frozenset(
            ("", own.name)
            for own in onnx.defs.get_all_schemas()
            if own.has_function or own.has_context_dependent_function or own.name == HELD
        ),
    )


def key_of(node: onnx.NodeProto) -> Key:
    """Return a node's operator."""
    return ("" if is_default_domain(node) else node.domain, node.op_type)


class OutOfReach:
    """What onnxruntime cannot compute of a model.

    Args:
        proto: The model; its weights are not read.

    Attributes:
        nodes: The nodes whose operator, or one inside them, onnxruntime does not have.
        operators: Their operators, each once, with the domain if that is not ONNX's own.
        behind: All nodes that need an output of one, themselves included.
        tensors: The outputs of those.
        given: What the former are given, as far as it is computed and no output of the model.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        opset = max((own.version for own in proto.opset_import if own.domain in ("", "ai.onnx")), default=0)
        self._kernels = Kernels(opset)
        self._functions = {(own.domain, own.name): own for own in proto.functions}
        self.nodes: list[onnx.NodeProto] = []
        self.behind: list[onnx.NodeProto] = []
        self.tensors: set[str] = set()
        for node in proto.graph.node:
            lacks = not self._is_computed(node)
            if lacks:
                self.nodes.append(node)
            if lacks or not self.tensors.isdisjoint((*node.input, *captured_names(node))):
                self.behind.append(node)
                self.tensors.update(name for name in node.output if name)
        self.operators = list(dict.fromkeys(map(qualified, self.nodes)))
        computed = {name for node in proto.graph.node for name in node.output if name} - self.tensors
        outputs = {value.name for value in proto.graph.output}
        needed = dict.fromkeys(name for node in self.nodes for name in node.input if name in computed - outputs)
        self.given = list(needed)

    def _is_computed(self, node: onnx.NodeProto) -> bool:
        function = self._functions.get((node.domain, node.op_type))
        if function is not None:
            return all(map(self._is_computed, function.node))
        inner = (own for graph in subgraphs(node) for own in graph.node)
        return self._kernels.has(key_of(node)) and all(map(self._is_computed, inner))


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
        given_too: True adds what the operators that onnxruntime lacks are given as outputs.
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
