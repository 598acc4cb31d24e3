"""Metadata of a Q/DQ file: the names of its constants and tensors, and the offsets of tensors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import onnx
from onnx import helper

SCALE, ZERO_POINT, QUANTIZED, DEQUANTIZED = "_scale", "_zero_point", "_quantized", "_dequantized"
UNROUNDED = "_QuantizeLinear_Input"
FROM_ZERO = "_from_zero"  # suffix of a tensor minus its offset, which is quantized in place of a zero-point
SHIFTED = "quantkit.shifted"  # the metadata key of a JSON object: [name, offset] by tensor


def scale_name(name: str) -> str:
    """Return the name of the scale of a tensor or weight."""
    return f"{name}{SCALE}"


def zero_point_name(name: str) -> str:
    """Return the name of the zero-point of a tensor or weight."""
    return f"{name}{ZERO_POINT}"


def quantized_name(name: str) -> str:
    """Return the name of a tensor between QuantizeLinear and DequantizeLinear, or of a weight's integers."""
    return f"{name}{QUANTIZED}"


def dequantized_name(name: str) -> str:
    """Return the name of a tensor after its pair, or of a weight after its DequantizeLinear."""
    return f"{name}{DEQUANTIZED}"


def unrounded_name(name: str) -> str:
    """Return the name of a graph output before its pair. onnxruntime's quantizer uses the same."""
    return f"{name}{UNROUNDED}"


def shifted(model: onnx.ModelProto) -> dict[str, tuple[str, float]]:
    """Return the tensors of the original model that have an offset here, with their names in this model and offsets.

    A value of the original model is the value here plus the offset. Metadata in another form, which another program
    wrote, counts as none.
    """
    text = next((entry.value for entry in model.metadata_props if entry.key == SHIFTED), "{}")
    try:
        found = {str(name): (str(own), float(offset)) for name, (own, offset) in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}
    return found if all(math.isfinite(offset) for _, offset in found.values()) else {}


def note_shifted(model: onnx.ModelProto, tensors: Mapping[str, tuple[str, float]]) -> None:
    """Write the offsets that :func:`shifted` reads into a model's metadata. Other metadata is kept.

    Args:
        model: The model; it is edited.
        tensors: The name in this model and the offset, by tensor of the original model.
    """
    others = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(model, others | {SHIFTED: json.dumps(dict(tensors))})
