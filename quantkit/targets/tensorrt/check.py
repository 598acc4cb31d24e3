"""What TensorRT's parsers, and the opsets that its releases read, say of a user's model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import onnx

from quantkit.core.cuda import driver_is_here
from quantkit.graph.graph import label
from quantkit.graph.model_file import opset_of
from quantkit.targets.parsing import Fault, Parsing, advice, nodes_by_operator
from quantkit.targets.tensorrt.engine.libraries import TENSORRT, Library
from quantkit.targets.tensorrt.opsets import Reads, first_reader
from quantkit.targets.tensorrt.parsers import Refusal, parse

WITHOUT = (
    "Build and load with a plugin that implements it (trtexec --dynamicPlugins=LIB.so), leave it to fallback "
    "(onnxruntime's TensorRT provider runs such nodes on the CPU or CUDA), or export the model without it."
)
NO_PLUGIN = "Plugin not found"


def parsings_of(path: Path, proto: onnx.ModelProto, version: str | None) -> list[Parsing]:
    """Ask TensorRT's parser, and say what its releases' opsets have to do with the model.

    Args:
        path: The file.
        proto: The model in it, without external data.
        version: The release of TensorRT that will read the model; None if the user did not say.
    """
    return [_opset(proto, version), asked(TENSORRT, path, proto)]


def _opset(proto: onnx.ModelProto, version: str | None) -> Parsing:
    """Compare the model's opset with those that releases read, which needs no parser."""
    opset = opset_of(proto)
    if version is None:
        first = first_reader(opset)
        since = "no release that quantkit knows" if first is None else f"TensorRT {first[0]}.{first[1]} and newer"
        hint = f"Name a release (--tensorrt, tensorrt=): {since} reads opset {opset}."
        return Parsing("TensorRT's opsets", unchecked="no version is named", hint=hint)
    newest = Reads(version).newest_opset
    assert newest is not None
    parser = f"TensorRT {version}'s opsets"
    if opset <= newest:
        return Parsing(parser)
    what = f"TensorRT {version} reads up to opset {newest}, and the model states {opset}."
    hint = f"Export it with opset {newest}; quantkit export --tensorrt {version} converts it where ONNX can."
    return Parsing(parser, (Fault("", (), what, hint),))


def asked(library: Library, path: Path, proto: onnx.ModelProto) -> Parsing:
    """Ask a library's parser, if it is installed.

    Args:
        library: The library.
        path: The file.
        proto: The model in it, without external data.
    """
    if not library.is_installed():
        starts = library.ahead or driver_is_here()
        hint = "Run:" if starts else "It starts only where there is an NVIDIA GPU. There, run:"
        return Parsing(library.title, unchecked="it is not installed", hint=f"{hint} {library.install_command()}")
    answer = parse(library, path)
    parser = f"{library.title} {answer.version}".strip()
    if not answer.started:
        return Parsing(parser, unchecked="it does not start on this machine", hint="Check its GPU with nvidia-smi.")
    return Parsing(parser, _faults(answer.refusals, library.title, proto))


def _faults(refusals: Sequence[Refusal], name: str, proto: onnx.ModelProto) -> tuple[Fault, ...]:
    """Return a fault for each operator and reason, with all its nodes."""
    places = nodes_by_operator(proto)
    grouped: dict[tuple[str, str], list[str]] = {}
    for refusal in (_with_names(own, proto) for own in refusals):
        operator = _qualified(refusal, places)
        nodes = grouped.setdefault((operator, refusal.reason), [])
        if _is_unknown(refusal.reason):  # everywhere, also where the parser did not come to
            nodes[:] = map(label, places.get(operator, ()))
        elif refusal.node:
            nodes.append(refusal.node)
    return tuple(
        Fault(operator, tuple(nodes), _what(operator, reason, name), _hint(operator, opset_of(proto)))
        for (operator, reason), nodes in grouped.items()
    )


def _with_names(refusal: Refusal, proto: onnx.ModelProto) -> Refusal:
    """Return a refusal with its operator and node, of which TensorRT 8 tells the position alone."""
    if refusal.operator or not 0 <= refusal.index < len(proto.graph.node):
        return refusal
    node = proto.graph.node[refusal.index]
    return replace(refusal, operator=node.op_type, node=label(node))


def _qualified(refusal: Refusal, places: Mapping[str, Sequence[onnx.NodeProto]]) -> str:
    """Return the operator of a refused node with its domain, which the parser does not tell."""
    same = [operator for operator, nodes in places.items() if nodes[0].op_type == refusal.operator]
    named = [own for own in same if any(label(node) == refusal.node for node in places[own])]
    return next(iter([*named, *same]), refusal.operator)


def _is_unknown(reason: str) -> bool:
    """True if the parser has nothing for an operator: no plugin, or for one of ONNX's own a bare "false"."""
    return NO_PLUGIN in reason or reason == "false"


def _what(operator: str, reason: str, name: str) -> str:
    if not operator:
        return f"{name} says: {reason}"
    if _is_unknown(reason):
        return f"{name} has no operator {operator}."
    return f"{name} refuses {operator}: {reason}"


def _hint(operator: str, opset: int) -> str:
    if not operator:
        return "Export the model with float inputs and ONNX's own operators, or leave the target out."
    return advice(operator, opset, WITHOUT)
