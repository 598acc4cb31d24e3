"""What is done to a model that is not in normal form."""

from __future__ import annotations

from pathlib import Path

import onnx

from quantkit.core.errors import BadModel
from quantkit.core.wording import line_of
from quantkit.graph.conversion import converted
from quantkit.graph.normal_form.constants import computed_weights, fold_constants
from quantkit.graph.normal_form.functions import inline_functions
from quantkit.graph.normal_form.sorting import is_sorted, sort_nodes
from quantkit.graph.normal_form.widening import has_other_types, infer_types, type_of_layers, widen
from quantkit.graph.operators import WEIGHTED

OPERATORS_AS_NOW = 11  # the first opset in which operators mostly take the inputs that they take today
UPGRADED = 13  # the first opset with Q/DQ for each channel


def in_normal_form(path: Path, proto: onnx.ModelProto, opset: int) -> tuple[onnx.ModelProto, tuple[str, ...]] | None:
    """Rewrite a model if it needs it.

    Args:
        path: The model's file, which is read again for external weights if the model has to be rewritten.
        proto: The model, perhaps without external weights; it is not changed.
        opset: The version of ONNX's own operators; 0 if the model uses none.

    Returns:
        The rewritten model with all weights, and what was done, in words; None if the model is in normal form.

    Raises:
        BadModel: The model cannot be rewritten: its nodes form a circle, its functions cannot be inlined, or a constant
            is beyond FP32.
    """
    other, old = _other_type(proto), 0 < opset < OPERATORS_AS_NOW
    if not (proto.functions or other or old or not is_sorted(proto.graph) or computed_weights(proto.graph, WEIGHTED)):
        return None
    try:
        model = onnx.load(str(path))
    except Exception as error:
        raise BadModel(f"{path} cannot be read ({line_of(error)}).", "Export it to ONNX again.") from error
    done = []
    if model.functions:
        model = inline_functions(model)
        done.append("local functions inlined")
    if sort_nodes(model.graph):
        done.append("nodes sorted")
    if old:
        model = _upgraded(model, path, opset)
        done.append(f"opset {opset} upgraded to {UPGRADED}")
    other = other or _other_type(model)
    if other:
        widen(model)
        done.append(f"{other} computed as FP32")
    folded = fold_constants(model)
    if folded:
        done.append(f"{folded} computed constants folded")
    return model, tuple(done)


def _upgraded(model: onnx.ModelProto, path: Path, opset: int) -> onnx.ModelProto:
    try:
        return converted(model, UPGRADED)
    except Exception as error:
        raise BadModel(
            f"{path} has opset {opset}, which ONNX cannot upgrade to {UPGRADED} ({line_of(error)}).",
            f"Export it with opset {UPGRADED} or newer.",
        ) from error


def _other_type(model: onnx.ModelProto) -> str:
    """Return the float type that layers compute in, if it is not FP32; else an empty string."""
    if not has_other_types(model.graph):
        return ""
    return type_of_layers(model.graph, WEIGHTED, infer_types(model))
