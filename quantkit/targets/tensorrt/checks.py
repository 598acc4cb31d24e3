"""Checks the files for TensorRT on a machine without a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from quantkit.core.errors import TargetRefuses
from quantkit.core.wording import line_of


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
