"""Q/DQ for ONNX Runtime: asymmetric u8 activations, per-channel s8 weights.

onnxruntime's own ``QDQQuantizer`` places the pairs; the ranges are quantkit's. All activations are u8, because
onnxruntime falls back to floating-point Convs where u8 and s8 meet. In a model with LayerNormalization (a transformer),
only the inputs of matrix products and Convs are quantized: the residual sums between them have outliers that u8 cannot
represent.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from quantkit.core.errors import TargetRefuses
from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile
from quantkit.graph.operators import PRODUCTS
from quantkit.qdq.exclusion import excluded_nodes
from quantkit.qdq.insertion import as_rounded
from quantkit.transforms.bias_correction import correct_biases
from quantkit.transforms.equalization import means_after
from quantkit.transforms.equalized import equalized

QUANTIZED_TYPES = (
    "Add", "AveragePool", "Clip", "Concat", "Conv", "ConvTranspose", "Flatten", "Gemm", "GlobalAveragePool", "MatMul",
    "MaxPool", "Mul", "Pad", "Relu", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip

SEVEN_BITS, EIGHT_BITS = 64, 127  # the largest magnitude of a weight in onnxruntime's quantizer


def quantized_for_onnxruntime(
    model: ModelFile,
    ranges: Mapping[str, TensorRange],
    exclude: Sequence[str] = (),
    channels: Mapping[str, ChannelStatistics] | None = None,
    seven_bit_weights: bool = False,
) -> onnx.ModelProto:
    """Make a model with Q/DQ pairs for ONNX Runtime.

    Args:
        model: The user's model.
        ranges: The ranges by tensor.
        exclude: Wildcards; nodes whose name or output matches one stay in floating point.
        channels: The statistics of every tensor's channels, for equalizing channels and correcting biases; None skips
            both.
        seven_bit_weights: True for x86 without VNNI, where u8·s8 sums of two products saturate 16 bits.

    Returns:
        The quantized copy.

    Raises:
        TargetRefuses: The model cannot be prepared, or onnxruntime's quantizer fails on it.
    """
    start = equalized(model, ranges, channels)
    proto, ranges, graph = start.proto, start.ranges, Graph(start.proto.graph)
    excluded = excluded_nodes(graph, exclude, ranges)
    levels = SEVEN_BITS if seven_bit_weights else EIGHT_BITS
    weighted = {node.name for node in graph.of_type(*PRODUCTS)} - set(excluded)
    means = means_after(channels or {}, start.factors)
    correct_biases(proto.graph, weighted, means, lambda weight, axis: as_rounded(weight, axis, levels))
    products_only = next(graph.of_type("LayerNormalization"), None) is not None
    quantizer = QDQQuantizer(
        proto,
        per_channel=True,
        reduce_range=seven_bit_weights,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(
            CalibrationMethod.MinMax,
            {name: TensorData(lowest=np.float32(r.low), highest=np.float32(r.high)) for name, r in ranges.items()},
        ),
        nodes_to_quantize=[],
        nodes_to_exclude=excluded,
        op_types_to_quantize=sorted(PRODUCTS) if products_only else list(QUANTIZED_TYPES),
        extra_options={
            "ActivationSymmetric": False,
            "WeightSymmetric": True,
            "OpTypesToExcludeOutputQuantization": sorted(PRODUCTS) if products_only else [],
        },
    )
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantizer logs a line through the root logger for every tensor that it skips
    try:
        quantizer.quantize_model()
    except (ValueError, RuntimeError, KeyError, IndexError, AttributeError) as error:
        raise TargetRefuses(
            f"onnxruntime's quantizer cannot place Q/DQ in {model.path} ({error}).",
            "Leave the node it names in floating point with --exclude.",
        ) from error
    finally:
        root.setLevel(level)
    quantizer.model.topological_sort()  # the quantizer appends pairs at the end, which the standard does not allow
    result: onnx.ModelProto = quantizer.model.model
    result.producer_name = "quantkit"
    return result
