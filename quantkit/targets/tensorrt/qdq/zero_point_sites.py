"""The tensors of a quantized graph that can have a zero-point, which ``zero_points`` folds into biases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from quantkit.core.ranges import LEVELS, STEPS
from quantkit.graph.graph import Graph, attribute, operand
from quantkit.graph.operators import CLAMPS, DEQUANTIZE, QUANTIZE, clip_bounds, is_plain_product
from quantkit.qdq.metadata import FROM_ZERO

BELOW = 128  # the levels of s8 below zero
BIASED = ("Conv", "Gemm")


@dataclass(frozen=True)
class FoldingSite:
    """A tensor that can have a zero-point, with the layers whose biases change.

    Attributes:
        activation: The ReLU or Clip that computes the tensor.
        quantize: The QuantizeLinear of its pair.
        dequantized: The output of its pair.
        scale: The scale of the pair with a zero-point.
        before: The layer whose bias is added to the tensor.
        behind: The layers that consume the tensor.
        beside: The layers whose output a sum adds to the tensor.
    """

    activation: onnx.NodeProto
    quantize: onnx.NodeProto
    dequantized: str
    scale: np.float32
    before: onnx.NodeProto
    behind: tuple[onnx.NodeProto, ...]
    beside: tuple[onnx.NodeProto, ...]

    @property
    def tensor(self) -> str:
        """The output of the activation."""
        return str(self.activation.output[0])

    @property
    def quantized(self) -> str:
        """The name of the tensor minus its offset, which is quantized in place of the tensor."""
        return f"{self.tensor}{FROM_ZERO}"

    @property
    def offset(self) -> float:
        """The number that the quantized values are lower by: 128 scales."""
        return BELOW * float(self.scale)


def sites(graph: Graph, names: set[str]) -> Iterator[FoldingSite]:
    """Yield every tensor that can have a zero-point, in graph order.

    Args:
        graph: The graph.
        names: The names in use; the new ones are added.
    """
    for node in graph.of_type(*CLAMPS):
        site = _site(graph, node)
        if site is not None and site.quantized not in names:
            names.add(site.quantized)
            yield site


def _site(graph: Graph, activation: onnx.NodeProto) -> FoldingSite | None:
    bounds = clip_bounds(activation, graph.constants)
    if bounds is None or not bounds[0] == 0 < bounds[1]:
        return None
    before = _layer_before(graph, activation.input[0])
    quantize = _only_consumer(graph, activation.output[0], QUANTIZE)
    dequantize = None if quantize is None else _only_consumer(graph, quantize.output[0], DEQUANTIZE)
    if before is None or quantize is None or dequantize is None:
        return None
    scale = _own_scale(graph, quantize, dequantize)
    consumers = _consumers(graph, dequantize.output[0])
    if scale is None or consumers is None:
        return None
    step = np.float32(min(LEVELS * scale, bounds[1]) / STEPS)
    return FoldingSite(activation, quantize, dequantize.output[0], step, before, *consumers)


def _own_scale(graph: Graph, quantize: onnx.NodeProto, dequantize: onnx.NodeProto) -> float | None:
    """Return the scale of a pair without a zero-point, if it is one FP32 number that no other node uses."""
    scale, zero_point = (graph.initializers.get(operand(quantize, position)) for position in (1, 2))
    if scale is None or zero_point is None or numpy_helper.to_array(zero_point).any():
        return None
    if {id(node) for node, _ in graph.consumers(scale.name)} != {id(quantize), id(dequantize)}:
        return None
    single = scale.data_type == TensorProto.FLOAT and not scale.dims
    return float(numpy_helper.to_array(scale)) if single else None


def _consumers(graph: Graph, name: str) -> tuple[tuple[onnx.NodeProto, ...], tuple[onnx.NodeProto, ...]] | None:
    """Return a tensor's weighted consumers, and the layers whose output is added to it; None if it has others."""
    if graph.must_keep(name):
        return None
    behind, beside = [], []
    for node, position in graph.consumers(name):
        if node.op_type == "Add":
            others = [own for own in node.input if own != name]
            layer = _straight_layer(graph, others[0]) if others else None
            if layer is None:
                return None
            beside.append(layer)
        elif position == 0 and _weighs_alike(graph, node):
            behind.append(node)
        else:
            return None
    return (tuple(behind), tuple(beside)) if behind or beside else None


def _only_consumer(graph: Graph, name: str, op_type: str) -> onnx.NodeProto | None:
    node = graph.only_consumer(name)
    return node if node is not None and node.op_type == op_type else None


def _layer_before(graph: Graph, name: str) -> onnx.NodeProto | None:
    """Return the layer whose bias is added to a tensor, directly or by a sum; None if others consume its output."""
    node = graph.producer(name)
    if node is None or node.op_type != "Add":
        return _straight_layer(graph, name)
    if graph.only_consumer(name) is None:
        return None
    layers = (_straight_layer(graph, part) for part in node.input)
    return next((layer for layer in layers if layer is not None), None)


def _straight_layer(graph: Graph, name: str) -> onnx.NodeProto | None:
    node = graph.producer(name)
    alone = graph.only_consumer(name) is not None
    return node if alone and node is not None and _is_plain(graph, node) else None


def _is_plain(graph: Graph, node: onnx.NodeProto) -> bool:
    """True if a node is a Conv or Gemm with constant weights and bias, whose bias is added to each output channel."""
    if node.op_type not in BIASED or weight_of(graph, node) is None:
        return False
    bias = operand(node, 2)
    if bias and (bias not in graph.initializers or len(graph.initializers[bias].dims) != 1):
        return False
    return is_plain_product(node)


def _weighs_alike(graph: Graph, node: onnx.NodeProto) -> bool:
    """True if adding a constant to a node's input adds a constant to each output channel."""
    padded = any(attribute(node, "pads", [])) or attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    return _is_plain(graph, node) and not padded


def weight_of(graph: Graph, node: onnx.NodeProto) -> onnx.TensorProto | None:
    """Return the constant that holds a node's weight, quantized or not; None if the weight is not constant."""
    dequantize = graph.producer(node.input[1])
    quantized = dequantize is not None and dequantize.op_type == DEQUANTIZE
    return graph.initializers.get(dequantize.input[0] if dequantize is not None and quantized else node.input[1])
