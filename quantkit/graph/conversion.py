"""Converts models from one opset to another with ONNX's own converter."""

from __future__ import annotations

import onnx
from onnx import version_converter

from quantkit.graph.operators import is_default_domain, is_foreign

ASIDE = "quantkit.aside"  # a domain, of which the converter leaves nodes alone


def converted(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Convert a model; nodes that ONNX does not know, such as plugins without a domain, stay as they are.

    Args:
        proto: The model; it is not changed.
        opset: The version of ONNX's own operators.

    Raises:
        Exception: ONNX cannot convert the model. It raises several types, with nothing in common.
    """
    if not any(is_default_domain(node) and is_foreign(node) for node in proto.graph.node):
        return version_converter.convert_version(proto, opset)
    source = onnx.ModelProto()
    source.CopyFrom(proto)
    source.opset_import.add(domain=ASIDE, version=1)
    for node in source.graph.node:
        if is_default_domain(node) and is_foreign(node):
            node.domain = ASIDE
    made = version_converter.convert_version(source, opset)
    for node in made.graph.node:
        if node.domain == ASIDE:
            node.domain = ""
    kept = [own for own in made.opset_import if own.domain != ASIDE]
    del made.opset_import[:]
    made.opset_import.extend(kept)
    return made
