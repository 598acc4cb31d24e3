"""Converts models from one opset to another with ONNX's own converter."""

from __future__ import annotations

import onnx
from onnx import version_converter

from quantkit.graph.graph import graphs_of
from quantkit.graph.operators import is_default_domain, is_foreign

ASIDE = "quantkit.aside"  # a domain, of which the converter and the checker leave nodes alone


def converted(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Convert a model; nodes that ONNX does not know, such as plugins without a domain, stay as they are.

    Args:
        proto: The model; it is not changed.
        opset: The version of ONNX's own operators.

    Raises:
        Exception: ONNX cannot convert the model. It raises several types, with nothing in common.
    """
    source = set_aside(proto)
    made = version_converter.convert_version(source, opset)
    if source is proto:
        return made
    for node in _nodes(made):
        if node.domain == ASIDE:
            node.domain = ""
    kept = [own for own in made.opset_import if own.domain != ASIDE]
    del made.opset_import[:]
    made.opset_import.extend(kept)
    return made


def set_aside(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose nodes without a domain that ONNX does not know have one; the model itself if it has none."""
    if not any(map(_is_unknown, _nodes(proto))):
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.opset_import.add(domain=ASIDE, version=1)
    for node in _nodes(copy):
        if _is_unknown(node):
            node.domain = ASIDE
    return copy


def _nodes(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for graph in graphs_of(proto.graph) for node in graph.node]


def _is_unknown(node: onnx.NodeProto) -> bool:
    return is_default_domain(node) and is_foreign(node)
