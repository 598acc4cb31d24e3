"""Conversion to FP16 weights and arithmetic with FP32 inputs and outputs, by onnxruntime's converter."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper, shape_inference

from quantkit.core.errors import TargetRefuses
from quantkit.core.wording import some
from quantkit.graph.graph import held_tensor, subgraphs
from quantkit.graph.model_file import ModelFile, without_weights
from quantkit.transforms.prepare import drop_constant_inputs

LARGEST_HALF = 65504.0
BLOCKED_FOR_ONNXRUNTIME = {"Max", "Min"}  # the converter leaves them in FP32 because of onnxruntime's kernels


def half_precision(model: ModelFile, strongly_typed: bool = False) -> onnx.ModelProto:
    """Convert a model to FP16 with FP32 inputs and outputs, at its own opset.

    Operators without an FP16 form (TopK, CumSum, NonMaxSuppression, RoiAlign) stay in FP32 between casts.

    Args:
        model: The model.
        strongly_typed: False converts for onnxruntime, because of whose kernels Max and Min stay in FP32, too. True
            converts for runtimes that compute each layer in the type of its tensors; see ``strongly_typed_half``.

    Returns:
        The converted copy.

    Raises:
        TargetRefuses: The model cannot be converted.
    """
    if strongly_typed:
        return strongly_typed_half(model.load(), str(model.path))
    try:
        return _converted(model.load(), set(), infer=not model.is_external)
    except Exception as error:
        raise TargetRefuses(
            f"{model.path} cannot be converted to FP16 ({error}).", "Leave fp16 out of the precisions."
        ) from error


def strongly_typed_half(proto: onnx.ModelProto, called: str) -> onnx.ModelProto:
    """Convert a model to FP16 with FP32 inputs and outputs, and check its types.

    Max and Min are converted, too, and so are numbers in Constant nodes and weights that are listed as graph inputs.

    Args:
        proto: The model; it is changed.
        called: The model's name in errors.

    Returns:
        The converted model.

    Raises:
        TargetRefuses: The model cannot be converted.
    """
    drop_constant_inputs(proto)
    _numbers_to_tensors(proto.graph)
    try:
        # Without the weights' data, because protobuf refuses messages of 2 GB.
        inferred = shape_inference.infer_shapes(without_weights(proto))
        del proto.graph.value_info[:]
        proto.graph.value_info.extend(inferred.graph.value_info)
        half = _converted(proto, BLOCKED_FOR_ONNXRUNTIME, infer=False)
        shape_inference.infer_shapes(without_weights(half), check_type=True, strict_mode=True)
    except Exception as error:
        raise TargetRefuses(
            f"{called} cannot be converted to FP16 ({str(error) or type(error).__name__}).",
            "Build it in FP32, or convert it with the tool that exported it.",
        ) from error
    return half


def beyond_half(half: onnx.ModelProto) -> tuple[str, ...]:
    """Return a warning for the constants of an FP16 model that were outside FP16's range; empty if there are none."""
    cut = [name for name, value in half_constants(half.graph) if (np.abs(value) == LARGEST_HALF).any()]
    return (f"Beyond FP16, so cut to ±65504: {len(cut)} constants ({some(cut)}).",) if cut else ()


def half_constants(graph: onnx.GraphProto) -> Iterator[tuple[str, npt.NDArray[np.float16]]]:
    """Yield the names and values of the FP16 initializers and Constant nodes of a graph and of the graphs inside it."""
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            yield tensor.name, numpy_helper.to_array(tensor)
    for node in graph.node:
        held = held_tensor(node)
        if held is not None and held.data_type == TensorProto.FLOAT16:
            yield node.output[0], numpy_helper.to_array(held)
        for inner in subgraphs(node):
            yield from half_constants(inner)


def _converted(proto: onnx.ModelProto, also: set[str], infer: bool) -> onnx.ModelProto:
    """Convert a model.

    ``also`` names operators to convert that the converter skips by default; ``infer`` lets it infer types.
    """
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is a warning for every weight below FP16's smallest number
        half: onnx.ModelProto = convert_float_to_float16(
            proto,
            keep_io_types=True,
            disable_shape_infer=not infer,
            op_block_list=sorted(set(DEFAULT_OP_BLOCK_LIST) - also),
        )
    ONNXModel(half).topological_sort()  # the converter appends casts at the end, which the standard does not allow
    return half


def _numbers_to_tensors(graph: onnx.GraphProto) -> None:
    """Rewrite ``Constant(value_float=…)`` as a tensor, which the converter knows; the attribute is always FP32."""
    for node in graph.node:
        for inner in subgraphs(node):
            _numbers_to_tensors(inner)
        if any(own.name in ("value_float", "value_floats") for own in node.attribute):
            held = held_tensor(node)
            if held is not None:
                held.ClearField("name")
                del node.attribute[:]
                node.attribute.append(onnx.helper.make_attribute("value", held))
