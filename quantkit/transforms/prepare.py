"""Preparation for Q/DQ: a newer opset, constants as initializers, and each BatchNormalization folded into its Conv."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper, version_converter

from quantkit.core.errors import TargetRefuses
from quantkit.graph.fused import folding_conv
from quantkit.graph.graph import Graph, attribute, held_tensor, subgraphs, unique_name
from quantkit.graph.model_file import ModelFile

QDQ_OPSET = 13  # the first opset with per-channel QuantizeLinear
FREE_INITIALIZERS = 4  # the first IR version whose initializers need not be inputs
# Suffixes of the names of quantkit's own constants; quantkit.qdq.metadata gives those of Q/DQ.
SCALE, ZERO_POINT, QUANTIZED, DEQUANTIZED = "_scale", "_zero_point", "_quantized", "_dequantized"
FOLDED_BIAS = "_folded_bias"
OWN_SUFFIXES = (SCALE, ZERO_POINT, QUANTIZED, DEQUANTIZED, FOLDED_BIAS)


def prepared(model: ModelFile) -> onnx.ModelProto:
    """Return a copy of a model, with all weights, that Q/DQ can be placed in. Tensors keep their names.

    Raises:
        TargetRefuses: The model's opset is too old and cannot be upgraded.
    """
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
    drop_constant_inputs(proto)
    proto.ir_version = max(proto.ir_version, FREE_INITIALIZERS)
    clear_names(proto.graph)
    fold_batch_norms(proto.graph)
    return proto


def ensure_names(graph: onnx.GraphProto) -> None:
    """Give every node a unique name, because quantizers identify nodes by name."""
    taken = {node.name for node in graph.node}
    seen: set[str] = set()
    for number, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            node.name = unique_name(taken, f"{node.op_type}_{number}")
            taken.add(node.name)
        seen.add(node.name)


def drop_constant_inputs(proto: onnx.ModelProto) -> None:
    """Drop graph inputs that are initializers, which older exporters list as inputs.

    The user could feed a value for such an input in place of a changed weight, and FP16 conversion would skip it.
    """
    constants = {tensor.name for tensor in proto.graph.initializer}
    kept = [value for value in proto.graph.input if value.name not in constants]
    if len(kept) < len(proto.graph.input):
        del proto.graph.input[:]
        proto.graph.input.extend(kept)
        proto.ir_version = max(proto.ir_version, FREE_INITIALIZERS)


def constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Replace Constant nodes that hold a tensor or numbers with initializers."""
    kept = []
    for node in graph.node:
        tensor = held_tensor(node)
        if tensor is None:
            kept.append(node)
            continue
        graph.initializer.append(tensor)
        graph.initializer[-1].name = node.output[0]
    del graph.node[:]
    graph.node.extend(kept)


def clear_names(graph: onnx.GraphProto) -> None:
    """Rename initializers whose names Q/DQ would give to its own constants, such as ``x_scale`` beside a tensor ``x``.

    Two constants with the same name would silently become one.
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
        for inner in subgraphs(node):
            _rename_uses(inner, renamed)


def fold_batch_norms(graph: onnx.GraphProto) -> None:
    """Fold each inference BatchNormalization into the Conv that alone feeds it. The Conv gets its output name."""
    view = Graph(graph)
    folded = [(conv, node) for node in view.nodes if (conv := folding_conv(view, node)) is not None]
    for conv, norm in folded:
        _fold(graph, view, conv, norm)
    gone = {id(norm) for _, norm in folded}
    del graph.node[:]
    graph.node.extend(node for node in view.nodes if id(node) not in gone)


def _fold(graph: onnx.GraphProto, view: Graph, conv: onnx.NodeProto, norm: onnx.NodeProto) -> None:
    scale, shift, mean, variance = (
        numpy_helper.to_array(view.initializers[name]).astype(np.float64) for name in norm.input[1:5]
    )
    gain = scale / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
    weight = numpy_helper.to_array(view.initializers[conv.input[1]])
    bias = numpy_helper.to_array(view.initializers[conv.input[2]]) if len(conv.input) > 2 else np.zeros_like(mean)
    folded = (weight * gain.reshape(-1, *[1] * (weight.ndim - 1))).astype(weight.dtype)
    offset = ((bias - mean) * gain + shift).astype(weight.dtype)
    view.initializers[conv.input[1]].CopyFrom(numpy_helper.from_array(folded, conv.input[1]))
    bias_name = f"{norm.output[0]}{FOLDED_BIAS}"
    graph.initializer.append(numpy_helper.from_array(offset, bias_name))
    del conv.input[2:]
    conv.input.append(bias_name)
    conv.output[0] = norm.output[0]
