"""Local functions, which runtimes inline, but which neither ONNX's version converter nor a Q/DQ placement sees into."""

from __future__ import annotations

import onnx
from onnx import inliner

from quantkit.core.errors import BadModel
from quantkit.core.wording import line_of


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model in which every call of a local function is replaced by the function's nodes.

    Args:
        model: The model; types are declared in it.

    Returns:
        The model without local functions.

    Raises:
        BadModel: ONNX's inliner fails, as on functions that call each other in a circle.
    """
    try:
        _declare_constants(model.graph)
        return inliner.inline_local_functions(model, convert_version=True)
    except Exception as error:
        raise BadModel(
            f"The model's local functions cannot be inlined ({line_of(error)}).",
            "Export it without functions (torch.onnx.export: export_modules_as_functions=False).",
        ) from error


def _declare_constants(graph: onnx.GraphProto) -> None:
    """Declare the types of initializers, which the inliner asks for where it converts a function's opset."""
    known = {value.name for value in (*graph.input, *graph.value_info)}
    graph.value_info.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in graph.initializer
        if tensor.name not in known
    )
