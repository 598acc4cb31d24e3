"""What every exported file has to promise: it is valid, it loads, and it computes what the model does.

Shared by ``check_onnx_suite.py`` and ``fuzz_graphs.py``.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from quantkit.core.artifact import Artifact
from quantkit.graph.model_file import ModelFile
from quantkit.transforms.equalized import equalized
from quantkit.transforms.prepare import prepared

Arrays = Mapping[str, npt.NDArray[Any]]

TOLERANCE = 1e-5  # of the largest value, before anything is rounded
HAS_OPENVINO = importlib.util.find_spec("openvino") is not None


def session_of(model: Path | bytes, optimized: bool = True) -> ort.InferenceSession:
    """Load a model in onnxruntime."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = model if isinstance(model, bytes) else str(model)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def outputs_of(model: Path | bytes, feeds: Arrays, optimized: bool = True) -> list[Any]:
    """Run a model in onnxruntime."""
    session = session_of(model, optimized)
    names = {value.name for value in session.get_inputs()}
    result: list[Any] = session.run(None, {name: own for name, own in feeds.items() if name in names})
    return result


def sqnr(reference: list[Any], other: list[Any]) -> float:
    """Return the signal-to-noise ratio, in dB, over all float outputs of equal shapes; inf without any difference."""
    signal = noise = 0.0
    for before, after in zip(reference, other, strict=True):
        if not isinstance(before, np.ndarray) or before.dtype.kind != "f" or before.shape != after.shape:
            continue
        finite = np.isfinite(before) & np.isfinite(after)
        wide = before.astype(np.float64)[finite]
        signal += float((wide**2).sum())
        noise += float(((wide - after.astype(np.float64)[finite]) ** 2).sum())
    return float("inf") if noise == 0 else 10 * float(np.log10(max(signal, 1e-300) / noise))


def faults_of(artifact: Artifact) -> Iterator[str]:
    """Yield what is wrong with an artifact's files, in words."""
    for file in artifact.files:
        if file.suffix == ".onnx":
            yield from _onnx_faults(file, artifact)
        elif file.suffix == ".xml" and HAS_OPENVINO:
            yield from _openvino_faults(file)


def _onnx_faults(file: Path, artifact: Artifact) -> Iterator[str]:
    called = f"{artifact.target} {artifact.precision} {file.name}"
    try:
        onnx.checker.check_model(str(file), full_check=True)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is reported)
        yield f"{called}: onnx.checker: {str(error).splitlines()[0][:200]}"
    # Types that are too new for onnxruntime's kernels are TensorRT's business, not onnxruntime's.
    if artifact.target != "tensorrt" or (artifact.precision == "int8" and file.name == "model.onnx"):
        try:
            session_of(file, optimized=artifact.target != "tensorrt")
        except Exception as error:  # noqa: BLE001
            yield f"{called}: onnxruntime: {str(error).splitlines()[0][:200]}"


def _openvino_faults(file: Path) -> Iterator[str]:
    import openvino

    try:
        core = openvino.Core()
        core.compile_model(core.read_model(file), "CPU")
    except RuntimeError as error:
        yield f"OpenVINO {file.parent.name}: {str(error).strip().splitlines()[-1][:200]}"


def transform_faults(model: ModelFile, feeds: Arrays, calibration: Any) -> Iterator[str]:
    """Yield where a model that is prepared for Q/DQ, and not rounded, differs from the original."""
    reference = otherwise = outputs_of(model.path, feeds)
    with suppress(Exception):  # onnxruntime has no kernel for it but for its optimizer
        otherwise = outputs_of(model.path, feeds, optimized=False)
    ranges, channels = calibration.ranges, calibration.channels
    with tempfile.TemporaryDirectory() as folder:
        for name, proto in (
            ("in normal form", model.load()),
            ("prepared", prepared(model)),
            ("equalized", equalized(model, ranges, channels).proto),
        ):
            path = Path(folder) / "m.onnx"
            onnx.save(proto, path)
            try:
                found = outputs_of(path, feeds)
            except Exception as error:  # noqa: BLE001
                yield f"{name}: onnxruntime: {str(error).splitlines()[0][:200]}"
                continue
            yield from (f"{name}: {fault}" for fault in _differences(reference, found, otherwise))


def _differences(reference: list[Any], found: list[Any], otherwise: list[Any]) -> Iterator[str]:
    """``otherwise`` is what onnxruntime computes without its optimizer: the order of sums already changes digits."""
    for number, (before, after, plain) in enumerate(zip(reference, found, otherwise, strict=True)):
        if not isinstance(before, np.ndarray) or before.dtype.kind not in "fiub":
            continue
        if before.shape != after.shape:
            yield f"output {number} has shape {after.shape} for {before.shape}"
            continue
        narrow = before.dtype in (np.float16,) or (before.dtype.itemsize < 4 and before.dtype.kind == "f")
        wide, other = before.astype(np.float64), after.astype(np.float64)
        finite = np.isfinite(wide)
        if not np.array_equal(finite, np.isfinite(other)) and not narrow:
            yield f"output {number} is infinite elsewhere"
            continue
        largest = np.abs(wide[finite]).max(initial=0.0)
        tolerance = (2e-3 if narrow else TOLERANCE) * max(largest, 1e-30)
        both = finite & np.isfinite(other)
        tolerance = max(tolerance, 4 * np.abs(wide - plain.astype(np.float64))[both].max(initial=0.0))
        error = np.abs(wide - other)[both].max(initial=0.0)
        if error > tolerance:
            yield f"output {number} is off by {error:.3g} of {largest:.3g}"
