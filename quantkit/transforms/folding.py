"""Arithmetic with constants, folded into the weights and biases of the layer before it.

After this, a BatchNormalization, or a factor or an offset for each channel, costs nothing, and no Q/DQ pair comes
between it and its layer. All products are computed in float64 and rounded once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from quantkit.graph.fused import folding_conv
from quantkit.graph.graph import Graph, attribute, drop_unused_constants, names_in, operand, result, unique_name
from quantkit.graph.operators import is_default_domain, weight_output_axis

FOLDED_BIAS = "_folded_bias"
ARITHMETIC = ("Add", "Div", "Mul", "Sub")
LAYERS = {"Conv", "Gemm"}

Floats = npt.NDArray[np.float64]


def fold_batch_norms(graph: onnx.GraphProto) -> None:
    """Fold each inference BatchNormalization into the Conv that alone feeds it. The Conv gets its output name."""
    view = Graph(graph)
    folded = [(conv, node) for node in view.nodes if (conv := folding_conv(view, node)) is not None]
    if not folded:
        return
    names = names_in(graph)
    for conv, norm in folded:
        gain, offset = _gain_and_offset(view, norm)
        _scale(graph, view, conv, gain, offset, names, norm.output[0])
    _remove(graph, [norm for _, norm in folded])


def fold_arithmetic(graph: onnx.GraphProto) -> None:
    """Fold an Add, Sub, Mul or Div by a constant for each channel, or one for all, into the layer before it.

    The layer is a Conv or Gemm with a constant weight that nothing else uses, and whose output nothing else reads. It
    gets the output name.
    """
    names = names_in(graph)
    while True:
        view = Graph(graph)
        found = next((site for node in view.nodes if (site := _arithmetic(view, node)) is not None), None)
        if found is None:
            break
        layer, node, gain, offset = found
        _scale(graph, view, layer, gain, offset, names, node.output[0])
        _remove(graph, [node])
    drop_unused_constants(graph)


def plain_gemms(graph: onnx.GraphProto) -> None:
    """Fold alpha and beta of Gemms into their constants, and give every Gemm's constant bias the shape (O,)."""
    view, names = Graph(graph), names_in(graph)
    for node in view.of_type("Gemm"):
        alpha, beta = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
        weight, bias = view.initializers.get(operand(node, 1)), view.initializers.get(operand(node, 2))
        if weight is None or (operand(node, 2) and bias is None) or len(weight.dims) != 2:
            continue
        if alpha != 1.0:
            _replace(graph, node, 1, numpy_helper.to_array(weight) * alpha, names)
            _set(node, "alpha", 1.0)
        outputs = weight.dims[weight_output_axis(node, 2)]
        if bias is None:
            continue
        values = numpy_helper.to_array(bias).astype(np.float64) * beta
        plain = values.shape == (outputs,) and beta == 1.0
        if values.shape in ((), (1,), (outputs,), (1, 1), (1, outputs)) and not plain:
            _replace(graph, node, 2, np.broadcast_to(values.reshape(-1), (outputs,)), names)
            _set(node, "beta", 1.0)
    drop_unused_constants(graph)


def simplify_batch_norms(graph: onnx.GraphProto) -> None:
    """Rewrite every BatchNormalization with constant parameters as a factor and an offset: mean 0, variance 1.

    FP16 does not hold a variance above 65504 nor an epsilon below 6e-8, but it holds the factor.
    """
    view, names = Graph(graph), names_in(graph)
    for node in view.of_type("BatchNormalization"):
        if attribute(node, "training_mode", 0) or not all(name in view.initializers for name in node.input[1:]):
            continue
        gain, offset = _gain_and_offset(view, node)
        for position, values in enumerate((gain, offset, np.zeros_like(gain), np.ones_like(gain)), 1):
            _replace(graph, node, position, values, names)
        _set(node, "epsilon", 0.0)
    drop_unused_constants(graph)


def _gain_and_offset(graph: Graph, norm: onnx.NodeProto) -> tuple[Floats, Floats]:
    scale, shift, mean, variance = (
        numpy_helper.to_array(graph.initializers[name]).astype(np.float64) for name in norm.input[1:5]
    )
    gain = scale / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
    return gain, shift - mean * gain


def _arithmetic(graph: Graph, node: onnx.NodeProto) -> tuple[onnx.NodeProto, onnx.NodeProto, Floats, Floats] | None:
    """Return a layer, the node to fold into it, and its gain and offset per output channel; None if it cannot be."""
    if node.op_type not in ARITHMETIC or not is_default_domain(node) or len(node.input) != 2:
        return None
    first = 0 if node.input[1] in graph.initializers else 1
    constant = graph.initializers.get(node.input[1 - first])
    layer = graph.producer(node.input[first])
    if constant is None or layer is None or layer.op_type not in LAYERS or (first == 1 and node.op_type == "Div"):
        return None
    channels, axis = _channels(graph, layer)
    alone = graph.only_consumer(result(layer)) is not None and graph.only_consumer(operand(layer, 1)) is not None
    bias = operand(layer, 2)
    if not channels or not alone or (bias and bias not in graph.initializers):
        return None
    values = numpy_helper.to_array(constant)
    rank = len(graph.initializers[layer.input[1]].dims)
    along = _per_channel(values, channels, axis, rank)
    if along is None:
        return None
    one, none = np.ones(channels), np.zeros(channels)
    gains = {"Add": (one, along), "Mul": (along, none)}
    if node.op_type == "Sub":
        return (layer, node, one, -along) if first == 0 else (layer, node, -one, along)
    if node.op_type == "Div":
        return None if not along.all() else (layer, node, 1.0 / along, none)
    return layer, node, *gains[node.op_type]


def _channels(graph: Graph, layer: onnx.NodeProto) -> tuple[int, int]:
    """Return the number of output channels of a layer and their axis in its output, from the end; 0 if not known."""
    weight = graph.initializers.get(operand(layer, 1))
    if weight is None or weight.data_type != onnx.TensorProto.FLOAT or len(weight.dims) < 2:
        return 0, 0
    if layer.op_type == "Gemm":
        factors = attribute(layer, "alpha", 1.0), attribute(layer, "beta", 1.0)
        bias = graph.initializers.get(operand(layer, 2))
        plain = factors == (1.0, 1.0) and (bias is None or len(bias.dims) == 1)
        return (weight.dims[weight_output_axis(layer, 2)], -1) if plain and len(weight.dims) == 2 else (0, 0)
    return weight.dims[0], 1 - len(weight.dims)


def _per_channel(values: npt.NDArray[np.floating], channels: int, axis: int, rank: int) -> Floats | None:
    """Return a constant as one number for each channel; None if it varies along another axis or adds one."""
    if values.dtype != np.float32 or values.ndim > rank or not np.isfinite(values).all():
        return None
    if values.size == 1:
        return np.full(channels, float(values.reshape(())))
    if values.size != channels or values.ndim < -axis or values.shape[axis] != channels:
        return None
    return values.reshape(-1).astype(np.float64)


def _scale(
    graph: onnx.GraphProto,
    view: Graph,
    layer: onnx.NodeProto,
    gain: Floats,
    offset: Floats,
    names: set[str],
    output: str,
) -> None:
    """Make a layer compute its former output times ``gain`` plus ``offset``, under another name."""
    weight = view.initializers[layer.input[1]]
    values = numpy_helper.to_array(weight)
    axis = weight_output_axis(layer, values.ndim)
    if (gain != 1.0).any():
        scaled = values * gain.reshape([-1 if i == axis else 1 for i in range(values.ndim)])
        weight.CopyFrom(numpy_helper.from_array(scaled.astype(values.dtype), weight.name))
    name = operand(layer, 2)
    bias = numpy_helper.to_array(view.constants[name]).astype(np.float64) if name else np.zeros_like(gain)
    own = unique_name(names, f"{output}{FOLDED_BIAS}")
    names.add(own)
    graph.initializer.append(numpy_helper.from_array((bias * gain + offset).astype(values.dtype), own))
    del layer.input[2:]
    layer.input.append(own)
    layer.output[0] = output


def _replace(graph: onnx.GraphProto, node: onnx.NodeProto, position: int, values: Floats, names: set[str]) -> None:
    """Give a node a constant of its own, because other nodes may share the old one."""
    name = unique_name(names, f"{node.input[position]}_folded")
    names.add(name)
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
    node.input[position] = name


def _set(node: onnx.NodeProto, name: str, value: float) -> None:
    for own in [own for own in node.attribute if own.name == name]:
        node.attribute.remove(own)
    node.attribute.append(onnx.helper.make_attribute(name, value))


def _remove(graph: onnx.GraphProto, gone: list[onnx.NodeProto]) -> None:
    for node in gone:
        graph.node.remove(node)
