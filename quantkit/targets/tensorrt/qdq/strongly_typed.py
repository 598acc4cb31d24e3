"""INT8 models whose tensors state the precision, as strongly typed networks need it.

TensorRT 11 no longer has FP16 and INT8 builder flags, and 10 can do without them (``kSTRONGLY_TYPED``): every layer
runs in the type that the ONNX gives its tensors. So an FP16 engine comes from a model with FP16 tensors, and INT8 from
Q/DQ between FP16 tensors. The output of a DequantizeLinear has the type of its scale, so the scales are FP16, too,
which ONNX supports since opset 19. Inputs and outputs stay FP32, with one Cast each.
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/quantized-types-explicit-quantization.html
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from quantkit.core.errors import TargetRefuses
from quantkit.core.ranges import LARGEST_HALF
from quantkit.core.wording import some
from quantkit.graph.conversion import converted
from quantkit.graph.graph import Graph, attribute
from quantkit.graph.model_file import opset_of
from quantkit.graph.operators import DEQUANTIZE, QUANTIZE
from quantkit.transforms.half_precision import Half, half_constants, strongly_typed_half

FP16_SCALES_OPSET = 19
FP16_SCALES_IR = 9  # the first IR version with opset 19
LARGEST_SCALE = LARGEST_HALF / 128  # dequantizes -128 to the lowest number of FP16, not to -Inf; exact in FP16
SMALLEST_NORMAL = 2.0**-14


def quantized_half_precision(quantized: onnx.ModelProto) -> Half:
    """Convert the output of ``quantized_for_tensorrt`` to Q/DQ over FP16.

    Scales become FP16, int8 weights and zero points stay int8; everything else becomes FP16.

    Args:
        quantized: The Q/DQ model; it is not changed.

    Returns:
        The converted copy, of opset 19 or newer.

    Raises:
        TargetRefuses: The model cannot be upgraded to opset 19 or converted to FP16.
    """
    proto = _upgraded(quantized)
    _round_scales(proto.graph)
    return strongly_typed_half(proto, "The Q/DQ model")


def beyond_scales(half: Half) -> tuple[str, ...]:
    """Return warnings for constants and calibrated ranges of a ``quantized_half_precision`` model beyond FP16."""
    notes = list(half.notes)
    constants = {name: value for name, value in half_constants(half.proto.graph) if value.size}
    scales = {node.input[0]: node.input[1] for node in Graph(half.proto.graph).of_type(QUANTIZE)}
    large = [x for x, scale in scales.items() if scale in constants and constants[scale].max() >= LARGEST_SCALE]
    if large:
        notes.append(f"Calibrated beyond FP16: {len(large)} tensors ({some(large)}); their values may become infinite.")
    return tuple(notes)


def _upgraded(quantized: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of an opset that allows FP16 scales."""
    opset = opset_of(quantized)
    if opset >= FP16_SCALES_OPSET:
        proto = onnx.ModelProto()
        proto.CopyFrom(quantized)
    else:
        try:
            proto = converted(quantized, FP16_SCALES_OPSET)
        except Exception as error:
            raise TargetRefuses(
                f"The Q/DQ model has opset {opset}, FP16 scales need {FP16_SCALES_OPSET}, and it cannot be upgraded "
                f"({error}).",
                f"Export the model with opset {FP16_SCALES_OPSET}.",
            ) from error
    proto.ir_version = max(proto.ir_version, FP16_SCALES_IR)
    return proto


def _round_scales(graph: onnx.GraphProto) -> None:
    """Round every scale to a number of FP16, and quantize the int8 weights again with it.

    Scales are rounded to the nearest number, so that weights grow and shrink alike, by 0.05 % at most, which no other
    int8 value would correct. Scales below 2⁻¹⁴ are rounded up, so that nothing is cut off and none becomes zero, which
    TensorRT refuses. Those scales have fewer digits, but values of that size have no more in FP16 either. A range
    beyond FP16, such as that of an attention mask of -3.4e38, ends where FP16 does.
    """
    view = Graph(graph)
    constants = view.initializers
    axes: dict[str, tuple[str, int]] = {}  # the scale and axis by int8 weight
    scales = set()
    for node in view.of_type(QUANTIZE, DEQUANTIZE):
        scales.add(node.input[1])
        if node.op_type == DEQUANTIZE and node.input[0] in constants:
            axes[node.input[0]] = (node.input[1], attribute(node, "axis", 1))
    exact = {name: numpy_helper.to_array(constants[name]).astype(np.float64) for name in scales if name in constants}
    rounded = {name: half_scale(scale) for name, scale in exact.items()}
    for name, scale in rounded.items():
        constants[name].CopyFrom(numpy_helper.from_array(scale.astype(np.float32), name))
    for weight, (name, axis) in axes.items():
        values = numpy_helper.to_array(constants[weight])
        if name in exact and values.dtype == np.int8:
            shape = [-1 if i == axis % values.ndim else 1 for i in range(values.ndim)] if exact[name].size > 1 else []
            change = (exact[name] / rounded[name].astype(np.float64)).reshape(shape)
            anew = np.clip(np.rint(values * change), -128, 127).astype(np.int8)
            constants[weight].CopyFrom(numpy_helper.from_array(anew, weight))


def half_scale(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float16]:
    """Return FP16 scales for positive scales: the nearest number, or the next above below 2⁻¹⁴; at most 511.75.

    Below 2⁻¹⁴, FP16 is coarse.
    """
    cut = np.minimum(values, LARGEST_SCALE)
    half = cut.astype(np.float16)
    up = (half < cut) & (cut < SMALLEST_NORMAL)
    return np.where(up, np.nextafter(half, np.float16(np.inf)), half)
