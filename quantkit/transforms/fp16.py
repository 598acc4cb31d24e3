"""FP16 weights and arithmetic with FP32 inputs and outputs, by onnxruntime's own converter."""

from __future__ import annotations

import warnings

import onnx

from quantkit.core.errors import TargetRefuses
from quantkit.graph.model_file import ModelFile


def converted_to_fp16(model: ModelFile) -> onnx.ModelProto:
    """The model in FP16; operators that have no FP16 form stay in FP32 between casts. Raises BadInput."""
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    proto = model.load()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a warning for every weight below FP16's smallest number
            converted: onnx.ModelProto = convert_float_to_float16(
                proto, keep_io_types=True, disable_shape_infer=bool(model.external_files)
            )
    except Exception as error:
        raise TargetRefuses(
            f"{model.path} cannot be converted to FP16 ({error}).", "Leave fp16 out of the precisions."
        ) from error
    ONNXModel(converted).topological_sort()  # casts come at the end, which onnxruntime takes but the standard does not
    return converted
