"""ONNX Runtime's ``TensorsData`` as JSON, as ``onnxruntime.quantization.save_tensors_data`` and others write it.

``quantize_static(..., calibration_cache_path=...)`` reads it. Every tensor has ``lowest`` and ``highest``, numbers or
NumPy arrays spelled ``{"data": ..., "dtype": ..., "CLS": "numpy.array"}``; histograms beside them are not needed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from quantkit.core.errors import BadData
from quantkit.core.ranges import TensorRange
from quantkit.formats.imported import Imported, from_bounds

MIN_MAX = "CalibrationMethod.MinMax"
HINT = "Write it again with onnxruntime.quantization.save_tensors_data."


def tensors_data_text(ranges: Mapping[str, TensorRange], method: str = MIN_MAX) -> str:
    """Format ranges as ``save_tensors_data`` does.

    Args:
        ranges: The range of every tensor.
        method: The calibration method to state; ``quantize_static`` accepts only the one that it was called with.

    Returns:
        The JSON document.
    """
    data = {
        name: {"lowest": _array(range_.low), "highest": _array(range_.high), "CLS": "TensorData"}
        for name, range_ in ranges.items()
    }
    calibration_method = {"CLS": "CalibrationMethod", "value": method}
    document = {"CLS": "TensorsData", "data": data, "calibration_method": calibration_method, "smooth_quant": False}
    return json.dumps(document)


def is_tensors_data(document: Mapping[str, Any]) -> bool:
    """True if parsed JSON is a TensorsData, or the plain dict of TensorData that write_calibration_table may write."""
    entries = document.values()
    return document.get("CLS") == "TensorsData" or any(
        isinstance(e, dict) and "TensorData" in e.values() for e in entries
    )


def read_tensors_data(document: Mapping[str, Any], source: str) -> Imported:
    """Read the ranges of a TensorsData. Per-channel ranges become one range that covers all channels.

    Args:
        document: The parsed JSON.
        source: What error messages call the file.

    Returns:
        The ranges, in the order of the document.

    Raises:
        BadInput: The document is not a TensorsData, or a range is missing or not a number.
    """
    whole = document.get("CLS") == "TensorsData"
    data = document.get("data") if whole else document
    if not isinstance(data, dict):
        raise BadData(f"{source} is a TensorsData without its data.", HINT)
    bounds: dict[str, tuple[float, float]] = {}
    per_channel: list[str] = []
    for name, entry in data.items():
        if not isinstance(entry, dict) or "lowest" not in entry or "highest" not in entry:
            raise BadData(f"{source} has no lowest and highest for {name!r}.", HINT)
        lowest, highest = _values(entry["lowest"], name, source), _values(entry["highest"], name, source)
        if max(len(lowest), len(highest)) > 1:
            per_channel.append(name)
        bounds[name] = (min(lowest), max(highest))
    notes: tuple[str, ...] = ()
    if per_channel:
        notes = (f"{len(per_channel)} tensors have a range for each channel in {source}; the widest are taken.",)
    stated = document.get("calibration_method")
    method = stated.get("value") if isinstance(stated, dict) else None
    return from_bounds(
        "onnxruntime's TensorsData", bounds, source, method=method if isinstance(method, str) else "", notes=notes
    )


def _array(value: float) -> dict[str, Any]:
    return {"data": float(np.float32(value)), "dtype": "float32", "CLS": "numpy.array"}


def _values(stated: object, name: str, source: str) -> list[float]:
    """Return the numbers in a scalar or in nested lists of any depth."""
    waiting = [stated["data"] if isinstance(stated, dict) and "data" in stated else stated]
    values: list[float] = []
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting += item
        elif isinstance(item, (int, float)) and not isinstance(item, bool):
            values.append(float(item) if isinstance(item, float) or abs(item) < 2**200 else math.inf)
        else:
            raise BadData(f"The range of {name!r} in {source} is no number.", HINT)
    if not values or any(map(math.isnan, values)):
        raise BadData(f"The range of {name!r} in {source} is {'NaN' if values else 'empty'}.", HINT)
    return values
