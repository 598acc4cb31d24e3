"""Q/DQ for TensorRT: symmetric s8, placed so that the builder keeps its fusions.

The rules, after NVIDIA's "Working with Quantized Types" (Q/DQ layer-placement recommendations),
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html:

1. A pair on every input of Conv, ConvTranspose, Gemm and MatMul, none on their outputs; activations per-tensor, weights
   per-channel; zero-point 0, every scale above 0.
2. A residual Add gets a pair on the skip input only: one on the branch that comes straight from a Conv would break the
   fusion of Conv and Add. An Add without such a branch gets pairs if all its consumers do.
3. No pair on a bias: TensorRT does not parse INT32 DequantizeLinear.
4. MaxPool, as a layer that only moves values, commutes with Q/DQ and needs no pair; pairs that move over such layers to
   one tensor share one scale. An average pool does not commute, and gets pairs on its input and its output, if the
   layers around it are quantized.
5. Any other layer runs in INT8 only between pairs on all its inputs and its output, and is left in floating point.
6. All inputs and the output of a Concat share one scale, so that nothing is requantized.
7. A Gemm or MatMul whose weight has fewer than 16 rows or columns is left in floating point.
8. Squeeze and excitation runs in INT8 as a whole, with pairs on the gate and on the tensor that it scales, if the
   product's consumers are quantized: a depthwise Conv has INT8 kernels only if its output is INT8. Elsewhere a Conv of
   one pixel is left in floating point: a pair costs more there than INT8 saves.
9. A Clip from 0 is a ReLU where the pair behind it ends no higher: TensorRT 8.6 errs on the Clip behind a Conv in
   floating point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile
from quantkit.graph.operators import WEIGHTED
from quantkit.qdq.exclusion import excluded_nodes
from quantkit.qdq.insertion import as_rounded, insert_pairs
from quantkit.qdq.placement import Placement
from quantkit.targets.tensorrt.qdq.chains import pair_sums_in_chains, share_scales_across
from quantkit.targets.tensorrt.qdq.saturating_clips import relus_for_clips
from quantkit.targets.tensorrt.qdq.squeeze_excitation import one_pixel_convs, place_gates
from quantkit.transforms.bias_correction import correct_biases
from quantkit.transforms.equalization import means_after
from quantkit.transforms.equalized import equalized


def quantized_for_tensorrt(
    model: ModelFile,
    ranges: Mapping[str, TensorRange],
    exclude: Sequence[str] = (),
    channels: Mapping[str, ChannelStatistics] | None = None,
) -> onnx.ModelProto:
    """The model with Q/DQ pairs; nodes whose name or output matches ``exclude`` stay in floating point.

    ``channels``, by tensor, serve to equalize channels and to correct biases; None does neither.
    """
    start = equalized(model, ranges, channels, symmetric=True)
    proto, ranges, graph = start.proto, start.ranges, Graph(start.proto.graph)
    # The output of a weighted layer gets no pair (rule 1), so that it needs no range: a Q/DQ model's scales lack it.
    unpaired = {name for node in graph.of_type(*WEIGHTED) for name in node.output}
    excluded = set(excluded_nodes(graph, exclude, unpaired | set(ranges)))
    placement = Placement(graph, ranges, excluded | one_pixel_convs(graph))
    placement.place()
    place_gates(placement, excluded)
    pair_sums_in_chains(placement)
    share_scales_across(placement)
    correct_biases(proto.graph, placement.with_weight, means_after(channels or {}, start.factors), as_rounded)
    insert_pairs(proto.graph, placement, lambda name: (np.float32(placement.scale(name)), np.int8(0)))
    relus_for_clips(proto.graph)
    proto.producer_name = "quantkit"
    return proto
