"""Rounds tensors to a grid as QuantizeLinear and DequantizeLinear of onnxruntime do."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnx import TensorProto, helper

from quantkit.graph.operators import DEQUANTIZE, QUANTIZE
from quantkit.pipeline.simulation.differences import Grid
from quantkit.runtime.session import cpu_session

OPSET, IR_VERSION = 13, 8


def rounded(values: npt.NDArray[Any], grid: Grid) -> npt.NDArray[Any]:
    """Return FP32 values rounded to a grid, in the same shape. May be called from several threads."""
    scale, zero_point = _constants(grid)
    feeds = {"x": values, "scale": scale, "zero_point": zero_point}
    found: npt.NDArray[Any] = _session(grid.signed).run(["y"], feeds)[0]
    return found


@cache
def _session(signed: bool) -> ort.InferenceSession:
    integer = TensorProto.INT8 if signed else TensorProto.UINT8
    graph = helper.make_graph(
        [
            helper.make_node(QUANTIZE, ["x", "scale", "zero_point"], ["q"]),
            helper.make_node(DEQUANTIZE, ["q", "scale", "zero_point"], ["y"]),
        ],
        "rounding",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("scale", TensorProto.FLOAT, []),
            helper.make_tensor_value_info("zero_point", integer, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return cpu_session(model.SerializeToString(), threads=1, optimized=False, arena=False)


@cache
def _constants(grid: Grid) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    return np.array(grid.scale, np.float32), np.array(grid.zero_point, np.int8 if grid.signed else np.uint8)
