"""Zero-points for TensorRT, whose INT8 has none: they are folded into the biases before and after a tensor.

After a ReLU, symmetric s8 does not use half of its 256 values. With q = -128 for 0, all are used: the bias before the
tensor subtracts 128 scales, and the biases after it add what their layers would lack. This is exact for every layer
that weighs all positions alike, that is, without padding. The method is that of Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018), section 2.3,
https://arxiv.org/abs/1712.05877. The ReLU, or a Clip from 0, is removed: values below 0 saturate at -128.
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
    """Return a copy of the output of ``quantized_for_tensorrt`` with zero-points for all tensors that can have one.

    Such a tensor is the output of a ReLU, or of a Clip from 0, after a Conv or Gemm or after the sum of one with
    something else, if all its consumers are Convs without padding, Gemms, and such sums.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(quantized)
    graph, names = Graph(proto.graph), names_in(proto.graph)
    found = list(sites(graph, names))
    if not found:
        return proto
    inputs: dict[str, npt.NDArray[np.float64] | float] = defaultdict(float)  # added to biases because of layers' inputs
    outputs: dict[str, float] = defaultdict(float)  # added to biases because of layers' outputs
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
    """Return the sum of each output channel's weights, as the layer computes with them, (O,)."""
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
    """Remove the activation, and set the scale."""
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
    """Give a node its own bias: the bias that it has, plus ``more``. ``names`` are in use; the new name is added."""
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
