"""Checks the files for TensorRT on a machine without a GPU."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from quantkit.core.errors import TargetRefuses
from quantkit.core.wording import line_of

# TensorRT for RTX, whose parser runs on any machine: the package, and what the bindings alone are called.
RTX = ("tensorrt_rtx", "tensorrt_rtx_bindings")


def parse_typed(file: Path) -> None:
    """Parse a model whose tensors have the types that the engine will compute in, if TensorRT for RTX is installed.

    Raises:
        TargetRefuses: The parser refuses it.
    """
    module = next((name for name in RTX if importlib.util.find_spec(name) is not None), None)
    if module is None:
        return
    trt: Any = importlib.import_module(module)
    logger = trt.Logger(trt.Logger.ERROR)
    network = trt.Builder(logger).create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(file)):
        error = parser.get_error(0)
        raise TargetRefuses(
            f"TensorRT for RTX cannot parse {file.name} ({line_of(Exception(error.desc()))}; node "
            f"{error.node_name()!r}, {error.node_operator()}).",
            "Leave that node out with --exclude, or export the model without it.",
        )


def computed(file: Path, sample: Mapping[str, npt.NDArray[Any]] | None) -> Mapping[str, npt.NDArray[Any]] | None:
    """Load a Q/DQ model in onnxruntime without its optimizer, and compute a sample.

    Args:
        file: The model.
        sample: One run's inputs; None only loads it.

    Returns:
        The outputs by name; None without a sample.

    Raises:
        TargetRefuses: onnxruntime cannot load or run it.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    # Its optimizer would round what TensorRT does not.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        if sample is None:
            return None
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, dict(sample)), strict=True))
    except Exception as error:
        raise TargetRefuses(
            f"onnxruntime cannot run {file.name} ({line_of(error)}).",
            "Leave the node that it names out with --exclude.",
        ) from error
