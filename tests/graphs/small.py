"""Small models, written as ONNX text with constants beside them, and what runtimes make of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from quantkit.core.calibration import Calibration
from quantkit.core.recipe import Recipe
from quantkit.graph.model_file import ModelFile, open_model
from quantkit.qdq.layers import Quantized
from quantkit.targets.onnxruntime.qdq import quantized_for_onnxruntime
from quantkit.targets.openvino.qdq import quantized_for_openvino
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt

DIALECTS = {
    "onnxruntime": quantized_for_onnxruntime,
    "openvino": quantized_for_openvino,
    "tensorrt": quantized_for_tensorrt,
}

Arrays = Mapping[str, npt.NDArray[Any]]


def weights(*shape: int, gain: float = 1.0) -> npt.NDArray[np.float32]:
    """Weights that keep the size of what they multiply; always the same for one shape."""
    rng = np.random.default_rng(shape)
    return rng.normal(0, gain / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)


def network(text: str, constants: Mapping[str, Any] | None = None, opset: int = 17) -> onnx.ModelProto:
    """A model from the text of its graph, such as ``(float[N,4] x) => (float[N,4] y) { y = Relu(x) }``."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> g {text}')
    for name, values in (constants or {}).items():
        array = np.asarray(values)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


def opened(model: onnx.ModelProto, folder: Path) -> ModelFile:
    """The model, saved and opened as quantkit does."""
    onnx.save(model, folder / "model.onnx")
    return open_model(folder / "model.onnx")


def outputs(model: onnx.ModelProto | Path, feeds: Arrays, optimized: bool = True) -> list[npt.NDArray[Any]]:
    """What onnxruntime computes."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    found: list[npt.NDArray[Any]] = ort.InferenceSession(source, options).run(None, dict(feeds))
    return found


def db(exact: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """The signal-to-noise ratio."""
    wide = exact.astype(np.float64)
    noise = float(((wide - other) ** 2).sum())
    return np.inf if noise == 0 else 10 * float(np.log10((wide**2).sum() / noise))


def calibrated(model: onnx.ModelProto, feeds: Arrays, folder: Path, **settings: Any) -> Calibration:
    """The model's calibration on the rows of ``feeds``."""
    import quantkit as qk

    onnx.save(model, folder / "model.onnx")
    np.savez(folder / "data.npz", **feeds)
    return qk.calibrate(folder / "model.onnx", folder / "data.npz", **settings)


def quantized(calibration: Calibration, dialect: str = "onnxruntime") -> Quantized:
    """The Q/DQ model of one dialect, with all that the calibration knows."""
    recipe = Recipe.of(calibration)
    model = open_model(Path(calibration.model.path))
    make = DIALECTS[dialect]
    known = {"histograms": recipe.histograms, "refinements": recipe.refinements}
    return make(model, recipe.quantized_ranges, recipe.exclude, recipe.channels, **known)


def paired(model: onnx.ModelProto) -> set[str]:
    """The tensors that a QuantizeLinear rounds, under the names that they had before."""
    quantizers = (node for node in model.graph.node if node.op_type == "QuantizeLinear")
    return {node.input[0].removesuffix("_QuantizeLinear_Input") for node in quantizers}


def integer_weights(model: onnx.ModelProto) -> set[str]:
    """The nodes whose weight comes from a DequantizeLinear of integers."""
    held = {tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT8}
    dequantized = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in held}
    return {node.output[0] for node in model.graph.node if len(node.input) > 1 and node.input[1] in dequantized}
