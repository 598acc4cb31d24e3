"""FP16 and INT8 models whose own tensors say the precision, as strongly typed networks want it.

TensorRT 11 has no FP16 and INT8 builder flags any more, and 10 can do without them (``kSTRONGLY_TYPED``): every layer
runs in the type that the ONNX gives its tensors. So an FP16 engine comes from a model of FP16 tensors, and INT8 from
Q/DQ between FP16 tensors. A DequantizeLinear gives the type of its scale, so the scales are FP16, too, which ONNX knows
from opset 19. Inputs and outputs stay FP32, with one Cast each.
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/quantized-types-explicit-quantization.html
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper, shape_inference, version_converter

from quantkit.core.errors import TargetRefuses
from quantkit.core.wording import some
from quantkit.graph.model_file import LARGEST_KEPT, ModelFile

FP16_SCALES_OPSET = 19
FP16_SCALES_IR = 9  # the first with opset 19
LARGEST_HALF = 65504.0
LARGEST_SCALE = LARGEST_HALF / 128  # dequantizes -128 to the lowest number of FP16, not to -Inf; exact in FP16
SMALLEST_NORMAL = 2.0**-14
IN_HALF_ON_TENSORRT = {"Max", "Min"}  # which onnxruntime's converter would leave in FP32 for its own kernels' sake


def half_precision(model: ModelFile) -> onnx.ModelProto:
    """The model in FP16 with FP32 inputs and outputs, at its own opset. Raises TargetRefuses.

    Operators without an FP16 form (TopK, CumSum, NonMaxSuppression, RoiAlign) stay in FP32 between casts.
    """
    return _halved(model.load(), str(model.path))


def quantized_half_precision(quantized: onnx.ModelProto) -> onnx.ModelProto:
    """Q/DQ over FP16 from what ``quantized_for_tensorrt`` gives; ``quantized`` itself is left alone.

    Opset 19 or newer. Scales are FP16, int8 weights and zero points stay int8; all else is FP16. Raises TargetRefuses.
    """
    proto = _upgraded(quantized)
    _round_scales(proto.graph)
    return _halved(proto, "The Q/DQ model")


def beyond_half(half: onnx.ModelProto) -> tuple[str, ...]:
    """What of a model that one of the functions above gave does not fit into FP16, a sentence each."""
    notes = []
    constants = {name: value for name, value in _half_constants(half.graph) if value.size}
    cut = [name for name, value in constants.items() if (np.abs(value) == LARGEST_HALF).any()]
    if cut:
        notes.append(f"Beyond FP16, so cut to ±65504: {len(cut)} constants ({some(cut)}).")
    scales = {node.input[0]: node.input[1] for node in half.graph.node if node.op_type == "QuantizeLinear"}
    large = [x for x, scale in scales.items() if scale in constants and constants[scale].max() >= LARGEST_SCALE]
    if large:
        notes.append(f"Calibrated beyond FP16: {len(large)} tensors ({some(large)}); their values may become infinite.")
    return tuple(notes)


def _upgraded(quantized: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that may hold FP16 scales."""
    opset = max(entry.version for entry in quantized.opset_import if entry.domain in ("", "ai.onnx"))
    if opset >= FP16_SCALES_OPSET:
        proto = onnx.ModelProto()
        proto.CopyFrom(quantized)
    else:
        try:
            proto = version_converter.convert_version(quantized, FP16_SCALES_OPSET)
        except Exception as error:
            raise TargetRefuses(
                f"The Q/DQ model has opset {opset}, FP16 scales need {FP16_SCALES_OPSET}, and it cannot be upgraded "
                f"({error}).",
                f"Export the model with opset {FP16_SCALES_OPSET}.",
            ) from error
    proto.ir_version = max(proto.ir_version, FP16_SCALES_IR)
    return proto


def _round_scales(graph: onnx.GraphProto) -> None:
    """Make every scale a number of FP16, and quantize the int8 weights anew for it.

    Scales are rounded to the nearest, so that weights grow and shrink alike, by 0.05 % at most, which no other int8
    value would repair. Below 2⁻¹⁴ they are rounded up: nothing is cut off, and none becomes zero, which TensorRT
    refuses. Those have fewer digits, but then values of that size have no more in FP16. A range beyond FP16, such as
    that of an attention mask of -3.4e38, ends where FP16 does.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    axes: dict[str, tuple[str, int]] = {}  # int8 weight to its scale and axis
    scales = set()
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scales.add(node.input[1])
            if node.op_type == "DequantizeLinear" and node.input[0] in constants:
                axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
                axes[node.input[0]] = (node.input[1], axis)
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
    """FP16 scales for positive ones: the nearest; below 2⁻¹⁴, where FP16 is coarse, the next above; 511.75 at most."""
    cut = np.minimum(values, LARGEST_SCALE)
    half = cut.astype(np.float16)
    up = (half < cut) & (cut < SMALLEST_NORMAL)
    return np.where(up, np.nextafter(half, np.float16(np.inf)), half)


def _halved(proto: onnx.ModelProto, called: str) -> onnx.ModelProto:
    """``proto`` in FP16 by onnxruntime's converter, with its types checked. It may be edited."""
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    _only_real_inputs(proto)
    _float_attributes_to_tensors(proto.graph)
    try:
        # Without the weights' data, for protobuf refuses messages of 2 GB.
        inferred = shape_inference.infer_shapes(_skeleton(proto))
        del proto.graph.value_info[:]
        proto.graph.value_info.extend(inferred.graph.value_info)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a warning for every weight below FP16's smallest number
            half: onnx.ModelProto = convert_float_to_float16(
                proto,
                keep_io_types=True,
                disable_shape_infer=True,
                op_block_list=sorted(set(DEFAULT_OP_BLOCK_LIST) - IN_HALF_ON_TENSORRT),
            )
        ONNXModel(half).topological_sort()  # casts come at the end, which the standard does not take
        shape_inference.infer_shapes(_skeleton(half), check_type=True, strict_mode=True)
    except Exception as error:
        raise TargetRefuses(
            f"{called} cannot be converted to FP16 ({error or type(error).__name__}).",
            "Build it in FP32, or convert it with the tool that exported it.",
        ) from error
    return half


def _only_real_inputs(proto: onnx.ModelProto) -> None:
    """Take weights off the list of inputs, where models of IR 3 have them: as inputs they would stay in FP32."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    kept = [value for value in proto.graph.input if value.name not in weights]
    if len(kept) < len(proto.graph.input):
        del proto.graph.input[:]
        proto.graph.input.extend(kept)
        proto.ir_version = max(proto.ir_version, 4)


def _float_attributes_to_tensors(graph: onnx.GraphProto) -> None:
    """Write ``Constant(value_float=…)`` as a tensor, which the converter knows; the attribute is FP32 for ever."""
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _float_attributes_to_tensors(inner)
        value = next((a for a in node.attribute if a.name in ("value_float", "value_floats")), None)
        if node.op_type == "Constant" and value is not None:
            numbers = np.array(value.f if value.name == "value_float" else list(value.floats), np.float32)
            value.CopyFrom(onnx.helper.make_attribute("value", numpy_helper.from_array(numbers)))


def _skeleton(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which large initializers have shape and type alone."""
    bare = onnx.ModelProto(ir_version=proto.ir_version)
    bare.opset_import.extend(proto.opset_import)
    bare.functions.extend(proto.functions)
    bare.graph.name = proto.graph.name or "graph"
    for field in ("node", "input", "output", "value_info"):
        getattr(bare.graph, field).extend(getattr(proto.graph, field))
    for tensor in proto.graph.initializer:
        if int(np.prod(tensor.dims)) > LARGEST_KEPT:
            bare.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        else:
            bare.graph.initializer.append(tensor)
    return bare


def _half_constants(graph: onnx.GraphProto) -> Iterator[tuple[str, npt.NDArray[np.float16]]]:
    """The FP16 initializers and Constant nodes of a graph and of those inside it, by name."""
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            yield tensor.name, numpy_helper.to_array(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.t.data_type == TensorProto.FLOAT16:
                yield node.output[0], numpy_helper.to_array(attribute.t)
            for inner in (attribute.g, *attribute.graphs):
                yield from _half_constants(inner)
