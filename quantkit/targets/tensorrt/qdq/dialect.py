"""Q/DQ for TensorRT: symmetric s8, placed so that the builder keeps its fusions.

The rules follow NVIDIA's "Working with Quantized Types" (Q/DQ layer-placement recommendations),
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html:

1. Every input of Conv, ConvTranspose, Gemm and MatMul gets a pair, and their outputs get none. Activations are
   per-tensor, weights per-channel; zero-points are 0 and scales above 0.
2. A residual Add gets a pair on the skip input only: a pair on the branch that comes straight from a Conv would break
   the fusion of Conv and Add. An Add without such a branch gets pairs if all its consumers do.
3. A bias gets no pair: TensorRT does not parse INT32 DequantizeLinear.
4. MaxPool, like a layer that only moves values, commutes with Q/DQ and needs no pair; pairs that move over such layers
   to one tensor share one scale. An average pool does not commute, and gets pairs on its input and its output if the
   layers around it are quantized.
5. Any other layer runs in INT8 only between pairs on all its inputs and its output, and is left in floating point.
6. All inputs and the output of a Concat share one scale, so that nothing is requantized.
7. A Gemm or MatMul whose weight has fewer than 16 rows or columns is left in floating point.
8. Squeeze and excitation runs in INT8 as a whole, with pairs on the gate and on the tensor that it scales, if the
   product's consumers are quantized: a depthwise Conv has INT8 kernels only if its output is INT8. Otherwise, a Conv
   on one pixel is left in floating point, because a pair costs more there than INT8 saves.
9. A Conv that cuts the image into patches is left in floating point if its output goes on in floating point. In INT8,
   rounding and reordering 32 images of 224×224 and the Conv itself took 0.20 ms on an H200 (8.6.0), and 0.07 in FP16.
10. Both products of an attention take pairs, or neither does: TensorRT for RTX 1.7.1 fuses none with one alone. If
    rounding would leave little of its probabilities, neither does. TensorRT 8.6 fuses no attention in FP16 between
    layers in INT8, which costs time in batches. docs/tensorrt-qdq.md has the figures.
11. A Clip from 0 becomes a ReLU if the range of the pair after it ends no higher than the Clip: TensorRT 8.6 computes
    the Clip after a floating-point Conv incorrectly.
12. Every Conv states its kernel_shape, without which TensorRT 8.6 does not parse one whose weight has a pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from quantkit.core.ranges import TensorRange
from quantkit.core.refinements import NO_REFINEMENTS, Refinements
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.core.statistics.histogram import Histogram
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile
from quantkit.graph.one_pixel import ONE_PIXEL_CONV, one_pixel_convs
from quantkit.graph.operators import WEIGHTED
from quantkit.qdq.exclusion import excluded_nodes
from quantkit.qdq.insertion import insert_pairs
from quantkit.qdq.layers import Quantized, layers_of
from quantkit.qdq.noise import Noise
from quantkit.qdq.placement import Placement, placed_without_ruin
from quantkit.qdq.rounding import Rounder
from quantkit.targets.tensorrt.qdq.attention import blurred_attentions, leave_blurred_attention
from quantkit.targets.tensorrt.qdq.chains import pair_shortcuts, pair_sums_in_chains, share_scales_across
from quantkit.targets.tensorrt.qdq.kernel_shapes import state_kernel_shapes
from quantkit.targets.tensorrt.qdq.patches import PATCH_CONV, patch_convs
from quantkit.targets.tensorrt.qdq.saturating_clips import relus_for_clips
from quantkit.targets.tensorrt.qdq.squeeze_excitation import place_gates
from quantkit.transforms.bias_correction import correct_biases, shift_biases
from quantkit.transforms.equalization import means_after
from quantkit.transforms.equalized import equalized


def quantized_for_tensorrt(
    model: ModelFile,
    ranges: Mapping[str, TensorRange],
    exclude: Sequence[str] = (),
    channels: Mapping[str, ChannelStatistics] | None = None,
    histograms: Mapping[str, Histogram] | None = None,
    refinements: Refinements = NO_REFINEMENTS,
) -> Quantized:
    """Make a model with Q/DQ pairs for TensorRT.

    Args:
        model: The user's model.
        ranges: The ranges by tensor.
        exclude: Wildcards; nodes whose name or output matches one stay in floating point.
        channels: The statistics of every tensor's channels, for equalizing channels and correcting biases; None skips
            both.
        histograms: The histograms by tensor, which tell what rounding would ruin; None trusts every pair.
        refinements: How weights are rounded, and what is done to biases and channels.

    Returns:
        The quantized copy, and what became of each weighted layer.

    Raises:
        TargetRefuses: The model cannot be prepared for Q/DQ.
    """
    start = equalized(model, ranges, channels, symmetric=True, sums=refinements.equalize_sums)
    proto, ranges, graph = start.proto, start.ranges, Graph(start.proto.graph)
    # The output of a weighted layer gets no pair (rule 1) and so needs no range, which a Q/DQ model's scales lack.
    unpaired = {name for node in graph.of_type(*WEIGHTED) for name in node.output}
    noise = Noise(histograms, channels)
    floating = dict.fromkeys(one_pixel_convs(graph), ONE_PIXEL_CONV) | dict.fromkeys(patch_convs(graph), PATCH_CONV)

    def place(left: dict[str, str]) -> Placement:
        placement = Placement(graph, ranges, floating | left, noise, symmetric=True)
        leave_blurred_attention(placement)
        placement.place()
        place_gates(placement, set(left))
        pair_sums_in_chains(placement)
        pair_shortcuts(placement)
        share_scales_across(placement)
        return placement

    placement = placed_without_ruin(excluded_nodes(graph, exclude, unpaired | set(ranges)), place)
    blurred = blurred_attentions(placement)
    rounder = Rounder(proto.graph, refinements.moments, start.factors)
    correct_biases(proto.graph, placement.weights, means_after(channels or {}, start.factors), rounder.values)
    shift_biases(proto.graph, placement.weights, refinements.biases, start.factors)
    state_kernel_shapes(graph)
    insert_pairs(proto.graph, placement, lambda name: (np.float32(placement.scale(name)), np.int8(0)), rounder)
    relus_for_clips(proto.graph)
    proto.producer_name = "quantkit"
    return Quantized(proto, layers_of(placement), blurred)
