"""Zero-points for TensorRT, whose INT8 has none: folded into the biases on either side of a tensor.

A symmetric s8 leaves half of its 256 values unused behind a ReLU. With q = -128 standing for 0 all are used: the bias
in front of the tensor takes off 128 scales, and the biases behind it add what their layers would miss, which is exact
for every layer that weighs all positions alike, so that no padding is in play; after Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018), section 2.3,
https://arxiv.org/abs/1712.05877. The ReLU, or a Clip from 0, goes: what lies below 0 saturates at -128.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from quantkit.core.ranges import LEVELS, STEPS
from quantkit.graph.graph import Graph, attribute, drop_unused_constants, names_in, operand, unique_name
from quantkit.graph.operators import CLAMPS, DEQUANTIZE, QUANTIZE, clip_bounds, is_plain_product, weight_output_axis
from quantkit.qdq.metadata import FROM_ZERO, note_shifted

BELOW = 128  # levels of s8 on the negative side
BIASED = ("Conv", "Gemm")


@dataclass(frozen=True)
class _Site:
    """A tensor that can have a zero-point: its activation, its pair, and the layers whose biases change.

    ``before`` adds to the tensor itself, those of ``behind`` consume it, and the output of those of ``beside`` is added
    to it by a sum.
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
        return str(self.activation.output[0])

    @property
    def quantized(self) -> str:
        return f"{self.tensor}{FROM_ZERO}"

    @property
    def offset(self) -> float:
        return BELOW * float(self.scale)


def fold_zero_points(quantized: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the output of ``quantized_for_tensorrt`` in which every tensor that can have a zero-point has one.

    Such a tensor is the output of a ReLU, or of a Clip from 0, behind a Conv or Gemm, or behind the sum of one with
    something else, if all its consumers are Convs without padding, Gemms, and such sums.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(quantized)
    graph, names = Graph(proto.graph), names_in(proto.graph)
    sites = list(_sites(graph, names))
    if not sites:
        return proto
    inputs: dict[str, npt.NDArray[np.float64] | float] = defaultdict(float)  # what biases add for their layers' inputs
    outputs: dict[str, float] = defaultdict(float)  # what biases add to their layers' outputs
    moved = {}
    for site in sites:
        outputs[site.before.name] -= site.offset
        for node in site.behind:
            inputs[node.name] += site.offset * _weight_sums(graph, node)
        for node in site.beside:
            outputs[node.name] += site.offset
        moved[site.tensor] = site.dequantized, site.offset
        moved[site.activation.input[0]] = site.quantized, site.offset
    in_place = {node.output[0]: (node.output[0], -outputs[node.name]) for node in graph.nodes if node.name in outputs}
    note_shifted(proto, in_place | moved)
    more = {name: inputs[name] + outputs[name] for name in {*inputs, *outputs}}
    for node in graph.nodes:
        if node.name in more:
            _add_to_bias(proto.graph, graph, node, more[node.name], names)
    for site in sites:
        _start_from_zero(proto.graph, graph, site)
    drop_unused_constants(proto.graph)
    return proto


def _sites(graph: Graph, names: set[str]) -> Iterator[_Site]:
    """Every tensor that can have a zero-point, in graph order; ``names`` are in use, and updated."""
    for node in graph.of_type(*CLAMPS):
        site = _site(graph, node)
        if site is not None and site.quantized not in names:
            names.add(site.quantized)
            yield site


def _site(graph: Graph, activation: onnx.NodeProto) -> _Site | None:
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
    return _Site(activation, quantize, dequantize.output[0], step, before, *consumers)


def _own_scale(graph: Graph, quantize: onnx.NodeProto, dequantize: onnx.NodeProto) -> float | None:
    """The scale of a pair without a zero-point, if it is one FP32 number and no other node's."""
    scale, zero_point = (graph.initializers.get(operand(quantize, position)) for position in (1, 2))
    if scale is None or zero_point is None or numpy_helper.to_array(zero_point).any():
        return None
    if {id(node) for node, _ in graph.consumers(scale.name)} != {id(quantize), id(dequantize)}:
        return None
    single = scale.data_type == TensorProto.FLOAT and not scale.dims
    return float(numpy_helper.to_array(scale)) if single else None


def _consumers(graph: Graph, name: str) -> tuple[tuple[onnx.NodeProto, ...], tuple[onnx.NodeProto, ...]] | None:
    """A tensor's weighted consumers, and the layers whose output is added to it; None if it has others, or none."""
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
    """The layer whose bias adds to a tensor: its producer, or that of a sum's part; None where others would see it."""
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
    """True if a node is a Conv or Gemm of constants, whose bias adds to each output channel."""
    if node.op_type not in BIASED or _weight(graph, node) is None:
        return False
    bias = operand(node, 2)
    if bias and (bias not in graph.initializers or len(graph.initializers[bias].dims) != 1):
        return False
    return is_plain_product(node)


def _weighs_alike(graph: Graph, node: onnx.NodeProto) -> bool:
    """True if a constant more everywhere in a node's input is a constant more in each output channel."""
    padded = any(attribute(node, "pads", [])) or attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    return _is_plain(graph, node) and not padded


def _weight(graph: Graph, node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The constant that holds a weight, quantized or not."""
    dequantize = graph.producer(node.input[1])
    quantized = dequantize is not None and dequantize.op_type == DEQUANTIZE
    return graph.initializers.get(dequantize.input[0] if dequantize is not None and quantized else node.input[1])


def _weight_sums(graph: Graph, node: onnx.NodeProto) -> npt.NDArray[np.float64]:
    """Of the weights that each output channel adds up, as the layer computes with them: float64 of shape (O,)."""
    weight = _weight(graph, node)
    assert weight is not None
    axis = weight_output_axis(node, len(weight.dims))
    values = np.moveaxis(numpy_helper.to_array(weight).astype(np.float64), axis, 0)
    sums: npt.NDArray[np.float64] = values.reshape(len(values), -1).sum(axis=1)
    dequantize = graph.producer(node.input[1])
    if dequantize is not None:
        sums *= numpy_helper.to_array(graph.initializers[dequantize.input[1]]).astype(np.float64).reshape(-1)
    return sums


def _start_from_zero(graph: onnx.GraphProto, view: Graph, site: _Site) -> None:
    """Take the activation out, and set the scale."""
    producer = view.producer(site.activation.input[0])
    assert producer is not None
    producer.output[0] = site.quantize.input[0] = site.quantized
    scale = view.initializers[site.quantize.input[1]]
    scale.CopyFrom(numpy_helper.from_array(np.array(site.scale, np.float32), scale.name))
    graph.node.remove(site.activation)


def _add_to_bias(
    graph: onnx.GraphProto,
    view: Graph,
    node: onnx.NodeProto,
    more: npt.NDArray[np.float64] | float,
    names: set[str],
) -> None:
    """Give a node a bias of its own: that which it has and ``more``. ``names`` are in use, and updated."""
    weight = _weight(view, node)
    assert weight is not None
    bias = view.initializers.get(operand(node, 2))
    zeros = np.zeros(weight.dims[weight_output_axis(node, len(weight.dims))])
    old = zeros if bias is None else numpy_helper.to_array(bias)
    name = unique_name(names, f"{node.name}_bias{FROM_ZERO}")
    names.add(name)
    del node.input[2:]
    node.input.append(name)
    graph.initializer.append(numpy_helper.from_array((old + more).astype(np.float32), name))
