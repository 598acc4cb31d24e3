"""Activations that only cut another one off."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping

import onnx
from onnx import numpy_helper
from onnx.external_data_helper import uses_external_data

from quantkit.core.statistics.clamp import Clamp


def clamps_of(graph: onnx.GraphProto, wanted: Container[str]) -> list[Clamp]:
    """The ReLUs and Clips of constant bounds whose output and input are both ``wanted``, in graph order.

    None takes its input from another one, so that every source is computed by itself.
    """
    # A bound that lies in an external file is left to onnxruntime.
    constants = {tensor.name: tensor for tensor in graph.initializer if not uses_external_data(tensor)}
    for node in graph.node:
        value = next((a for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None and not uses_external_data(value.t):
            constants[node.output[0]] = value.t
    outputs = {output.name for output in graph.output}
    found: dict[str, Clamp] = {}
    for node in graph.node:
        bounds = bounds_of(node, constants)
        if bounds is None or bounds[0] > bounds[1]:
            continue
        source, name = node.input[0], node.output[0]
        if source in wanted and name in wanted and source not in found and name not in outputs:
            found[name] = Clamp(name, source, *bounds)
    return list(found.values())


def bounds_of(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> tuple[float, float] | None:
    """Where a ReLU, or a Clip of constant bounds, cuts off below and above; None for any other node."""
    if node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type == "Relu":
        return 0.0, math.inf
    if node.op_type != "Clip":
        return None
    bounds = {"min": -math.inf, "max": math.inf} | {a.name: a.f for a in node.attribute}
    for key, name in zip(("min", "max"), node.input[1:], strict=False):
        if name and name not in constants:
            return None
        if name:
            bound = numpy_helper.to_array(constants[name])
            if bound.size != 1:
                return None  # invalid, and onnxruntime's to refuse
            bounds[key] = float(bound.item())
    return bounds["min"], bounds["max"]
