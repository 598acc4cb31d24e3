"""Which operators onnxruntime computes on the CPU."""

from __future__ import annotations

from functools import lru_cache

import onnx

from quantkit.graph.operators import is_default_domain

PROVIDER = "CPUExecutionProvider"
HELD = "Constant"  # has no kernel, because its values become an initializer

Key = tuple[str, str]
"""The domain, "" for ONNX's own, and the name of an operator."""


class CpuKernels:
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
