"""Q/DQ for OpenVINO: asymmetric u8 activations, per-channel s8 weights, only pairs that the CPU's kernels use.

Rules 1 to 7 of ``targets/tensorrt/qdq/dialect.py`` apply here, too, because OpenVINO also fuses the layers after a Conv
or a matrix product (a ReLU, the next layer's rounding) into its kernel. By these rules, LayerNormalization, Softmax,
GELU and the residual sums of a transformer stay in floating point. Further rules:

1. A Conv of at most 64 products a value stays in floating point if its input is an image of at most 64×64 pixels.
   Rounding the image costs more accuracy than any other rounding, and INT8 gains nothing there. On larger images it
   does: 8 % of MobileNetV2's time at 224×224.
2. A residual Add gets a pair on both inputs, because only then does the CPU compute a Conv and the Add after it in one
   kernel (7 % of ResNet-50's time). If the sum has at most 16,384 values, neither input gets one: so few values stay
   in the first caches in floating point, too, and the sum is not rounded again and again on its way (ResNet-20 gains
   1.9 dB and loses no time, MobileNetV2 gains 0.6 dB and loses 1.6 %; all its sums would be 1.5 dB and 2.7 %).
3. A pair after a MaxPool is moved before it. The outputs are the same to the bit, and the pool moves bytes.
4. A MatMul of two activations, as in attention, has both without zero-points: s8, or u8 from zero. With a zero-point,
   the CPU computes it in floating point. Pairs are placed before a Transpose, which the kernel of attention includes.
5. A MatMul whose weight holds several matrices stays in floating point: in INT8, 2026.4.1 computes it wrongly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from quantkit.core.ranges import LEVELS, TensorRange
from quantkit.core.refinements import NO_REFINEMENTS, Refinements
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.core.statistics.histogram import Histogram
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile
from quantkit.graph.operators import WEIGHTED, commutes_with_rounding
from quantkit.qdq.exclusion import excluded_nodes
from quantkit.qdq.insertion import affine, insert_pairs
from quantkit.qdq.layers import Quantized, layers_of
from quantkit.qdq.noise import Noise
from quantkit.qdq.placement import STACK_OF_MATRICES, Placement, placed_without_ruin, stacked_weights
from quantkit.qdq.rounding import Rounder
from quantkit.targets.openvino.layers import SMALL_IMAGE
from quantkit.transforms.bias_correction import correct_biases, shift_biases
from quantkit.transforms.equalization import means_after
from quantkit.transforms.equalized import equalized

FEW_PRODUCTS, SMALL_PIXELS = 64, 64 * 64  # rule 1
SMALL_SUM = 16_384  # rule 2: 64 KiB
SEVEN_BIT_LEVELS = 63  # the largest magnitude of a weight


def quantized_for_openvino(
    model: ModelFile,
    ranges: Mapping[str, TensorRange],
    exclude: Sequence[str] | Mapping[str, str] = (),
    channels: Mapping[str, ChannelStatistics] | None = None,
    seven_bit_weights: bool = False,
    histograms: Mapping[str, Histogram] | None = None,
    refinements: Refinements = NO_REFINEMENTS,
) -> Quantized:
    """Make a model with Q/DQ pairs for OpenVINO.

    Args:
        model: The user's model.
        ranges: The ranges by tensor.
        exclude: Wildcards, perhaps each with its reason; nodes whose name or output matches one stay in floating point.
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
    levels = SEVEN_BIT_LEVELS if seven_bit_weights else LEVELS
    unpaired = {name for node in graph.of_type(*WEIGHTED) for name in node.output}
    noise, small = Noise(histograms, channels), small_sums(model)
    floats = dict.fromkeys(image_layers(graph), SMALL_IMAGE)
    floats |= {name: STACK_OF_MATRICES for name, count in stacked_weights(graph).items() if count > 1}  # rule 5
    symmetric: set[str] = set()

    def place(left: dict[str, str]) -> Placement:
        placement = Placement(graph, ranges, floats | left, noise)
        placement.place()
        symmetric.clear()
        symmetric.update(place_products(placement))
        pair_sums(placement, small)
        pair_before_pools(placement)
        return placement

    placement = placed_without_ruin(excluded_nodes(graph, exclude, unpaired | set(ranges)), place)
    means = means_after(channels or {}, start.factors)
    rounder = Rounder(proto.graph, refinements.moments, start.factors, levels)
    correct_biases(proto.graph, placement.weights, means, rounder.values)
    shift_biases(proto.graph, placement.weights, refinements.biases, start.factors)

    def scheme(name: str) -> tuple[np.float32, np.int8 | np.uint8]:
        if name in symmetric and placement.group_range(name).low < 0:
            return np.float32(placement.scale(name)), np.int8(0)
        return affine(placement.group_range(name))

    insert_pairs(proto.graph, placement, scheme, rounder)
    proto.producer_name = "quantkit"
    return Quantized(proto, layers_of(placement))


def image_layers(graph: Graph) -> set[str]:
    """Return the names of the Convs that rule 1 keeps in floating point."""
    inputs = {name for name, value in graph.inputs.items() if 0 < _pixels(value) <= SMALL_PIXELS}
    return {
        node.name
        for node in graph.of_type("Conv")
        if node.input[0] in inputs
        and node.input[1] in graph.initializers
        and math.prod(graph.initializers[node.input[1]].dims[1:]) <= FEW_PRODUCTS
    }


def _pixels(value: onnx.ValueInfoProto) -> int:
    """Return height times width of an input (N, C, H, W); 0 if it is not fixed."""
    return math.prod(dim.dim_value for dim in value.type.tensor_type.shape.dim[2:])


def small_sums(model: ModelFile) -> set[str]:
    """Return the outputs of Adds with at most 16,384 values a sample, as far as shapes are known."""
    graph = onnx.shape_inference.infer_shapes(model.graph_only).graph
    sizes = {
        value.name: math.prod(dim.dim_value for dim in value.type.tensor_type.shape.dim[1:])
        for value in (*graph.value_info, *graph.output)
        if len(value.type.tensor_type.shape.dim) > 1
    }
    return {
        node.output[0] for node in graph.node if node.op_type == "Add" and 0 < sizes.get(node.output[0], 0) <= SMALL_SUM
    }


def pair_sums(placement: Placement, small: set[str]) -> None:
    """Apply rule 2 to the Adds that have a pair on one input: they get one on both, or on none.

    Args:
        placement: The placement; it is changed.
        small: The result of ``small_sums``.
    """
    paired = {node for _, node, _ in placement.edges}
    for node in placement.graph.of_type("Add"):
        edges = {(name, node.name, place) for place, name in enumerate(node.input) if name in placement.ranges}
        if node.name in paired and node.output[0] in small:
            placement.edges -= edges
        elif node.name in paired:
            placement.edges |= edges


def pair_before_pools(placement: Placement) -> None:
    """Apply rule 3 to each MaxPool that is the only consumer of its input and whose consumers all have a pair."""
    ranges, graph = dict(placement.ranges), placement.graph
    for node in graph.of_type("MaxPool"):
        source, pooled = node.input[0], node.output[0]
        if node.name in placement.left or not commutes_with_rounding(node):
            continue
        uses = {(pooled, user.name, position) for user, position in graph.consumers(pooled)}
        alone = graph.only_consumer(source) is not None and not graph.must_keep(pooled)
        if alone and uses and uses <= placement.edges and pooled not in placement.scale_groups:
            placement.edges -= uses
            placement.edges.add((source, node.name, 0))
            ranges[source] = ranges[pooled]  # rounding keeps the order, so the same value is the largest
    placement.ranges = ranges


def place_products(placement: Placement) -> set[str]:
    """Apply rule 4, and return the tensors whose pairs have no zero-point."""
    symmetric = set()
    graph = placement.graph
    for node in graph.of_type("MatMul"):
        if node.name not in placement.quantized or node.name in placement.weights:
            continue
        for position, name in enumerate(node.input):
            if (name, node.name, position) not in placement.edges:
                continue
            edge = (name, node.name, position)
            producer = graph.producer(name)
            alone = graph.only_consumer(name) is not None
            transposed = alone and producer is not None and producer.op_type == "Transpose"
            if producer is not None and transposed and producer.input[0] in placement.ranges:
                placement.edges.discard(edge)
                edge = (producer.input[0], producer.name, 0)
                placement.edges.add(edge)
            symmetric.add(edge[0])
    return symmetric
