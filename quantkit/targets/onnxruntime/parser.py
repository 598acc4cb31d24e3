"""Which operators of a model onnxruntime refuses.

It stops at the first, so the others are looked up in the lists of its schemas and of its CPU kernels.
"""

from __future__ import annotations

import re
from pathlib import Path

import onnx

from quantkit.core.errors import BadModel
from quantkit.graph.cpu_kernels import CpuKernels, key_of
from quantkit.graph.graph import label
from quantkit.graph.model_file import opset_of
from quantkit.runtime.session import cpu_session
from quantkit.targets.parsing import Fault, Parsing, nodes_by_operator, refused_operators

WITHOUT = (
    "Leave the target onnxruntime out: quantkit finds the ranges in front of it, and writes files for runtimes that "
    "have it. To run it in onnxruntime, an application registers a library "
    "(SessionOptions.register_custom_ops_library)."
)
NEWEST = re.compile(r"support for domain ai\.onnx is till opset (\d+)")
NODE = re.compile(r"[Nn]ode[^'\"]*?(?:with name '|\(\"?)([^'\")]+)")


def parsing_of(path: Path, proto: onnx.ModelProto) -> Parsing:
    """Make a session of a model, and name everything that keeps it from being made.

    Args:
        path: The file.
        proto: The model in it, without external data.
    """
    from onnxruntime import __version__

    parser = f"onnxruntime {__version__}"
    try:
        cpu_session(path)
    except BadModel as refusal:
        return Parsing(parser, _faults(proto, str(refusal.__cause__ or refusal)))
    return Parsing(parser)


def _faults(proto: onnx.ModelProto, message: str) -> tuple[Fault, ...]:
    unknown = _unknown(proto)
    if unknown:
        return refused_operators(proto, unknown, "onnxruntime", WITHOUT)
    newest = NEWEST.search(message)
    if newest is not None:
        what = f"onnxruntime reads up to opset {newest[1]}, and the model states {opset_of(proto)}."
        return (Fault("", (), what, f"Export it with opset {newest[1]} or older."),)
    words = " ".join(message.split())[:300]
    name = NODE.search(message)
    places = [
        (operator, node)
        for operator, nodes in nodes_by_operator(proto).items()
        for node in nodes
        if name is not None and label(node) == name[1]
    ]
    operator, nodes = (places[0][0], (label(places[0][1]),)) if places else ("", ())
    hint = "Check that the model runs in onnxruntime."
    if operator and "implementation" in message:
        hint = f"onnxruntime's CPU has {operator} for other types only: export the model with FP32 there."
    return (Fault(operator, nodes, f"onnxruntime says: {words}", hint),)


def _unknown(proto: onnx.ModelProto) -> list[str]:
    """Return the operators for which onnxruntime has neither a CPU kernel nor a definition by other operators."""
    kernels = CpuKernels(opset_of(proto))
    return [operator for operator, nodes in nodes_by_operator(proto).items() if not kernels.has(key_of(nodes[0]))]
