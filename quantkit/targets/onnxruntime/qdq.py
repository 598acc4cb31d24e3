"""Q/DQ for ONNX Runtime: asymmetric u8 activations, per-channel s8 weights, s32 biases.

``regions`` says where pairs go. All activations are u8, because onnxruntime falls back to floating-point Convs where u8
and s8 meet. Biases are s32 with the scale of the layer's sums: with a bias in floating point, onnxruntime computes a
Gemm, and a MatMul that it makes one of, in floating point.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from quantkit.core.ranges import TensorRange
from quantkit.core.refinements import NO_REFINEMENTS, Refinements
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.core.statistics.histogram import Histogram
from quantkit.graph.graph import Graph, operand
from quantkit.graph.model_file import ModelFile
from quantkit.graph.operators import WEIGHTED
from quantkit.qdq.exclusion import excluded_nodes
from quantkit.qdq.insertion import Bias, affine, insert_pairs
from quantkit.qdq.layers import Quantized, layers_of
from quantkit.qdq.noise import Noise
from quantkit.qdq.placement import Placement, placed_without_ruin
from quantkit.qdq.rounding import Rounder
from quantkit.targets.onnxruntime.regions import Regions, bias_add
from quantkit.transforms.bias_correction import correct_biases, shift_biases
from quantkit.transforms.equalization import means_after
from quantkit.transforms.equalized import equalized
from quantkit.transforms.hard_swish import shorten_hard_swish

SEVEN_BITS, EIGHT_BITS = 63, 127  # the largest magnitude of a weight


def quantized_for_onnxruntime(
    model: ModelFile,
    ranges: Mapping[str, TensorRange],
    exclude: Sequence[str] = (),
    channels: Mapping[str, ChannelStatistics] | None = None,
    seven_bit_weights: bool = False,
    histograms: Mapping[str, Histogram] | None = None,
    refinements: Refinements = NO_REFINEMENTS,
) -> Quantized:
    """Make a model with Q/DQ pairs for ONNX Runtime.

    Args:
        model: The user's model.
        ranges: The ranges by tensor.
        exclude: Wildcards; nodes whose name or output matches one stay in floating point.
        channels: The statistics of every tensor's channels, for equalizing channels and correcting biases; None skips
            both.
        seven_bit_weights: True for x86 without VNNI, where u8·s8 sums of two products saturate 16 bits.
        histograms: The histograms by tensor, which tell what rounding would ruin; None trusts every pair.
        refinements: How weights are rounded, and what is done to biases and channels.

    Returns:
        The quantized copy, and what became of each weighted layer.

    Raises:
        TargetRefuses: The model cannot be prepared for Q/DQ.
    """
    start = equalized(model, ranges, channels, sums=refinements.equalize_sums)
    proto, graph, ranges = start.proto, Graph(start.proto.graph), start.ranges
    levels = SEVEN_BITS if seven_bit_weights else EIGHT_BITS
    noise = Noise(histograms, channels)
    unpaired = {name for node in graph.of_type(*WEIGHTED) for name in node.output}
    removed: set[str] = set()

    def place(left: dict[str, str]) -> Placement:
        regions = Regions(graph, ranges, left, noise)
        placement = regions.place()
        removed.clear()
        removed.update(regions.removed)
        return placement

    placement = placed_without_ruin(excluded_nodes(graph, exclude, unpaired | set(ranges)), place)
    means = means_after(channels or {}, start.factors)
    rounder = Rounder(proto.graph, refinements.moments, start.factors, levels)
    correct_biases(proto.graph, placement.weights, means, rounder.values)
    shift_biases(proto.graph, placement.weights, refinements.biases, start.factors)
    added = _biases(Graph(proto.graph), placement)
    insert_pairs(proto.graph, placement, lambda name: affine(placement.group_range(name)), rounder, added)
    _remove_clamps(proto.graph, removed)
    shorten_hard_swish(proto.graph)
    proto.producer_name = "quantkit"
    return Quantized(proto, layers_of(placement))


def _biases(graph: Graph, placement: Placement) -> dict[str, Bias]:
    """Return the constant biases of quantized layers, by the layer's name. ``graph`` has the corrected ones."""
    found: dict[str, Bias] = {}
    for node in graph.nodes:
        if node.name not in placement.weights:
            continue
        add = bias_add(graph, node)
        adder, position = node, 2
        if node.op_type == "MatMul":
            if add is None:
                continue
            adder, position = add, 0 if add.input[0] in graph.initializers else 1
        name = operand(adder, position)
        weight, axis = placement.weights[node.name]
        if name in graph.initializers and list(graph.initializers[name].dims) == [
            graph.initializers[weight].dims[axis]
        ]:
            values = numpy_helper.to_array(graph.initializers[name]).astype(np.float64)
            found[node.name] = Bias(name, values, adder.name, position, node.input[0])
    return found


def _remove_clamps(graph: onnx.GraphProto, removed: Collection[str]) -> None:
    """Remove the clamps that pairs replace: their producers compute their outputs."""
    clamps = {node.input[0]: node for node in graph.node if node.name in removed}
    for node in graph.node:
        for position, name in enumerate(node.output):
            if name in clamps:
                node.output[position] = clamps[name].output[0]
    kept = [node for node in graph.node if node.name not in removed]
    del graph.node[:]
    graph.node.extend(kept)
