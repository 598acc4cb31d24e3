"""Reads a model to lint, from any tool and without the weights in external files."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from quantkit.core.errors import BadModel
from quantkit.graph.model_file import external_file_of, read_graph
from quantkit.graph.operators import DEQUANTIZE, QUANTIZE


def read_quantized(path: Path) -> onnx.ModelProto:
    """Read an ONNX file without external weights, but with all scales and zero-points, even external ones.

    Raises:
        BadInput: The file or its external data cannot be read.
    """
    proto = read_graph(path)
    needed = {name for node in proto.graph.node if node.op_type in (QUANTIZE, DEQUANTIZE) for name in node.input[1:]}
    for tensor in proto.graph.initializer:
        if tensor.name in needed and uses_external_data(tensor):
            file = external_file_of(tensor, path.parent)
            try:
                load_external_data_for_tensor(tensor, str(path.parent))
            except Exception as error:
                raise BadModel(
                    f"{file} does not hold {tensor.name!r} ({error}).", "Put the model's own data file beside it."
                ) from error
            tensor.ClearField("external_data")
            tensor.data_location = onnx.TensorProto.DEFAULT
    return proto
