"""Zero-points for TensorRT, whose INT8 has none: folded into the biases on either side of a tensor.

A symmetric s8 leaves half of its 256 values unused behind a ReLU. With q = -128 standing for 0 all are used: the bias
in front of the tensor takes off 128 scales, and the biases behind it add what their layers would miss, which is exact
for every layer that weighs all positions alike, so that no padding is in play; after Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018), section 2.3,
https://arxiv.org/abs/1712.05877. The ReLU, or a Clip from 0, goes: what lies below 0 saturates at -128.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from quantkit.graph.graph import Graph, drop_unused_constants, names_in, operand, unique_name
from quantkit.graph.operators import weight_output_axis
from quantkit.qdq.metadata import FROM_ZERO, note_shifted
from quantkit.targets.tensorrt.qdq.zero_point_sites import FoldingSite, sites, weight_of


def fold_zero_points(quantized: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the output of ``quantized_for_tensorrt`` in which every tensor that can have a zero-point has one.

    Such a tensor is the output of a ReLU, or of a Clip from 0, behind a Conv or Gemm, or behind the sum of one with
    something else, if all its consumers are Convs without padding, Gemms, and such sums.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(quantized)
    graph, names = Graph(proto.graph), names_in(proto.graph)
    found = list(sites(graph, names))
    if not found:
        return proto
    inputs: dict[str, npt.NDArray[np.float64] | float] = defaultdict(float)  # what biases add for their layers' inputs
    outputs: dict[str, float] = defaultdict(float)  # what biases add to their layers' outputs
    moved = {}
    for site in found:
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
    for site in found:
        _start_from_zero(proto.graph, graph, site)
    drop_unused_constants(proto.graph)
    return proto


def _weight_sums(graph: Graph, node: onnx.NodeProto) -> npt.NDArray[np.float64]:
    """Of the weights that each output channel adds up, as the layer computes with them: float64 of shape (O,)."""
    weight = weight_of(graph, node)
    assert weight is not None
    axis = weight_output_axis(node, len(weight.dims))
    values = np.moveaxis(numpy_helper.to_array(weight).astype(np.float64), axis, 0)
    sums: npt.NDArray[np.float64] = values.reshape(len(values), -1).sum(axis=1)
    dequantize = graph.producer(node.input[1])
    if dequantize is not None:
        sums *= numpy_helper.to_array(graph.initializers[dequantize.input[1]]).astype(np.float64).reshape(-1)
    return sums


def _start_from_zero(graph: onnx.GraphProto, view: Graph, site: FoldingSite) -> None:
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
    weight = weight_of(view, node)
    assert weight is not None
    bias = view.initializers.get(operand(node, 2))
    zeros = np.zeros(weight.dims[weight_output_axis(node, len(weight.dims))])
    old = zeros if bias is None else numpy_helper.to_array(bias)
    name = unique_name(names, f"{node.name}_bias{FROM_ZERO}")
    names.add(name)
    del node.input[2:]
    node.input.append(name)
    graph.initializer.append(numpy_helper.from_array((old + more).astype(np.float32), name))
