"""What a Q/DQ file says of itself: the names of its constants and tensors, and the offsets in its metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import onnx
from onnx import helper

from quantkit.transforms.prepare import DEQUANTIZED, QUANTIZED, SCALE, ZERO_POINT

FROM_ZERO = "_from_zero"  # ends the name of what quantizes a tensor with a zero-point: the tensor less its offset
SHIFTED = "quantkit.shifted"  # in the model's metadata: a JSON object, [name, offset] by tensor


def scale_name(name: str) -> str:
    """The name of the scale of a tensor or weight."""
    return f"{name}{SCALE}"


def zero_point_name(name: str) -> str:
    """The name of the zero-point of a tensor or weight."""
    return f"{name}{ZERO_POINT}"


def quantized_name(name: str) -> str:
    """The name of a tensor between QuantizeLinear and DequantizeLinear, or of a weight's integers."""
    return f"{name}{QUANTIZED}"


def dequantized_name(name: str) -> str:
    """The name of a tensor behind its pair, or of a weight behind its DequantizeLinear."""
    return f"{name}{DEQUANTIZED}"


def shifted(model: onnx.ModelProto) -> dict[str, tuple[str, float]]:
    """The tensors of the original model that have an offset here: each with its name in this model, and its offset.

    A value of the original is the value here plus the offset. Metadata of another form, another program's, counts as
    none.
    """
    text = next((entry.value for entry in model.metadata_props if entry.key == SHIFTED), "{}")
    try:
        found = {str(name): (str(own), float(offset)) for name, (own, offset) in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}
    return found if all(math.isfinite(offset) for _, offset in found.values()) else {}


def note_shifted(model: onnx.ModelProto, tensors: Mapping[str, tuple[str, float]]) -> None:
    """Write what ``shifted`` reads into the model's metadata, and keep the rest of it."""
    others = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(model, others | {SHIFTED: json.dumps(dict(tensors))})
