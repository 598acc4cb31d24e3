"""Readies a model for Q/DQ: newer opset, constants as initializers, BatchNorm folded into its Conv."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping

import numpy as np
import onnx
from onnx import numpy_helper, version_converter

from quantkit.core.errors import TargetRefuses
from quantkit.graph.model_file import ModelFile

QDQ_OPSET = 13  # the first with per-channel QuantizeLinear
FREE_INITIALIZERS = 4  # the first IR version whose initializers need not be inputs
OWN_SUFFIXES = ("_scale", "_zero_point", "_quantized", "_dequantized", "_folded_bias")


def prepared(model: ModelFile) -> onnx.ModelProto:
    """A copy with all weights that Q/DQ can be placed in. Tensor names stay what they are. Raises TargetRefuses."""
    proto = model.load()
    if model.opset < QDQ_OPSET:
        try:
            proto = version_converter.convert_version(proto, QDQ_OPSET)
        except Exception as error:
            raise TargetRefuses(
                f"{model.path} has opset {model.opset} and cannot be upgraded to {QDQ_OPSET} ({error}).",
                f"Export it with opset {QDQ_OPSET} or newer.",
            ) from error
    constants_to_initializers(proto.graph)
    _only_true_inputs(proto.graph)
    proto.ir_version = max(proto.ir_version, FREE_INITIALIZERS)
    clear_names(proto.graph)
    fold_batch_norms(proto.graph)
    return proto


def ensure_names(graph: onnx.GraphProto) -> None:
    """Give every node a unique name: quantizers address nodes by name."""
    taken = {node.name for node in graph.node}
    seen: set[str] = set()
    for number, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            name = f"{node.op_type}_{number}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
        seen.add(node.name)


def _only_true_inputs(graph: onnx.GraphProto) -> None:
    """Drop inputs that are initializers, as older exporters list them: a changed weight would have to be fed."""
    constants = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(kept)


def constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Replace Constant nodes that hold a tensor by initializers."""
    kept = []
    for node in graph.node:
        value = next((a for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            tensor = graph.initializer.add()
            tensor.CopyFrom(value.t)
            tensor.name = node.output[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def clear_names(graph: onnx.GraphProto) -> None:
    """Rename initializers whose names Q/DQ would give to its own constants, such as ``x_scale`` beside a tensor ``x``.

    Two constants of one name would silently become one.
    """
    tensors = {name for node in graph.node for name in (*node.input, *node.output)}
    inputs = {value.name for value in graph.input}
    renamed = {}
    for tensor in graph.initializer:
        owner = next((tensor.name.removesuffix(s) for s in OWN_SUFFIXES if tensor.name.endswith(s)), None)
        if owner in tensors and tensor.name not in inputs:
            renamed[tensor.name] = f"{tensor.name}_of_the_model"
            tensor.name = renamed[tensor.name]
    if renamed:
        _rename_uses(graph, renamed)


def _rename_uses(graph: onnx.GraphProto, renamed: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename_uses(inner, renamed)


def fold_batch_norms(graph: onnx.GraphProto) -> None:
    """Fold each inference BatchNormalization into the Conv that alone feeds it; the Conv takes over its output name."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    producers = {node.output[0]: node for node in graph.node if node.op_type == "Conv"}
    uses = Counter(name for node in graph.node for name in node.input) + Counter(o.name for o in graph.output)
    kept = []
    for node in graph.node:
        conv = producers.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        if conv is None or not folds(conv, node, weights, uses):
            kept.append(node)
            continue
        scale, shift, mean, variance = (
            numpy_helper.to_array(weights[name]).astype(np.float64) for name in node.input[1:5]
        )
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        gain = scale / np.sqrt(variance + epsilon)
        weight = numpy_helper.to_array(weights[conv.input[1]])
        bias = numpy_helper.to_array(weights[conv.input[2]]) if len(conv.input) > 2 else np.zeros_like(mean)
        folded = (weight * gain.reshape(-1, *[1] * (weight.ndim - 1))).astype(weight.dtype)
        offset = ((bias - mean) * gain + shift).astype(weight.dtype)
        weights[conv.input[1]].CopyFrom(numpy_helper.from_array(folded, conv.input[1]))
        bias_name = f"{node.output[0]}_folded_bias"
        graph.initializer.append(numpy_helper.from_array(offset, bias_name))
        del conv.input[2:]
        conv.input.append(bias_name)
        conv.output[0] = node.output[0]
        producers[conv.output[0]] = conv
    del graph.node[:]
    graph.node.extend(kept)


def folds(conv: onnx.NodeProto, norm: onnx.NodeProto, constants: Container[str], uses: Mapping[str, int]) -> bool:
    """True if a BatchNormalization can be folded into the node before it: a Conv that feeds nothing else.

    The weight must be that Conv's alone, and all parameters constant. ``uses`` counts takers, the graph's outputs too.
    """
    constant = all(name in constants for name in (*conv.input[1:], *norm.input[1:]))
    return conv.op_type == "Conv" and constant and uses[conv.output[0]] == 1 == uses[conv.input[1]]
