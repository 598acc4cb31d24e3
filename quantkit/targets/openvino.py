"""OpenVINO: IR files (model.xml and model.bin) in FP32, FP16-compressed and INT8."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.artifact import PRECISIONS, Artifact
from quantkit.core.calibration import Calibration
from quantkit.core.errors import BackendMissing, TargetRefuses
from quantkit.model.file import ModelFile
from quantkit.targets.base import Availability, Session, failed_on, summarize_precisions
from quantkit.targets.cpu import saturates_u8s8

INSTALL = "pip install openvino nncf"
WEIGHTED = ("Convolution", "Deconvolution", "FullyConnected", "MatMul", "GroupConvolution")
SHORT_NAMES = {"i8": "int8", "u8": "int8"}


class OpenVino:
    """The ``openvino`` target."""

    name = "openvino"
    precisions = PRECISIONS

    def availability(self) -> Availability:
        """It works where the openvino package imports."""
        if find_spec("openvino") is None:
            return Availability(False, reason="the package openvino is not installed", mend=INSTALL)
        try:
            return Availability(True, _openvino().__version__.split("-")[0])
        except (ImportError, OSError, AttributeError) as error:
            return Availability(False, reason=f"the package openvino does not import ({error})", mend=INSTALL)

    def can_export(self) -> bool:
        """Where openvino works: its IR is written by the library."""
        return self.availability().works

    def devices(self) -> tuple[str, ...]:
        """CPU first, then what else OpenVINO finds."""
        if not self.availability().works:
            return ()
        return tuple(sorted(_core().available_devices, key=lambda device: device != "CPU"))

    def export(self, model: ModelFile, calibration: Calibration, precision: str, folder: Path) -> Artifact:
        """``model.xml`` and ``model.bin``. INT8 comes from Q/DQ of OpenVINO's own dialect."""
        from quantkit.model.qdq_openvino import quantized_for_openvino
        from quantkit.model.save import MODEL_FILE, save_model

        self._require()
        notes: tuple[str, ...] = ()
        if precision == "int8":
            seven_bit = saturates_u8s8()
            notes = ("7-bit weights, because this CPU has no VNNI",) if seven_bit else ()
            with tempfile.TemporaryDirectory(prefix="quantkit-") as temporary:
                quantized = quantized_for_openvino(
                    model, calibration.ranges, calibration.exclude, calibration.channels, seven_bit
                )
                save_model(quantized, Path(temporary))
                self._convert(Path(temporary) / MODEL_FILE, folder, compress=False)
        else:
            self._convert(model.path, folder, compress=precision == "fp16")
        return Artifact(self.name, precision, (folder / "model.xml", folder / "model.bin"), notes)

    def load(self, artifact: Artifact, device: str) -> Session:
        """Compile for latency. FP32 is asked for by name: a CPU with bf16 units would quietly use them otherwise."""
        self._require()
        if device.split(".")[0] not in {d.split(".")[0] for d in self.devices()} | {"AUTO"}:
            raise BackendMissing(
                f"OpenVINO has no device {device!r} here.", f"Use --device with one of: {', '.join(self.devices())}."
            )
        half = artifact.precision == "fp16" and not device.startswith("CPU")
        config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f16" if half else "f32"}
        try:
            return _Session(_core().compile_model(str(artifact.path), device, config))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise TargetRefuses(
                f"OpenVINO cannot compile {artifact.path} for {device} ({reason}).", "Leave that precision out."
            ) from error

    def _convert(self, source: Path, folder: Path, compress: bool) -> None:
        openvino = _openvino()
        try:
            model = _core().read_model(str(source))
        except RuntimeError as error:
            reason = next((line for line in str(error).splitlines() if "onnx" in line.lower()), str(error))
            raise TargetRefuses(
                f"OpenVINO cannot read {source} ({reason[:300]}).", "Leave --target openvino out."
            ) from error
        openvino.save_model(model, str(folder / "model.xml"), compress_to_fp16=compress)

    def _require(self) -> None:
        availability = self.availability()
        if not availability.works:
            raise BackendMissing(f"OpenVINO cannot be used: {availability.reason}.", f"Run: {availability.mend}")


class _Session:
    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._outputs = [output.any_name for output in compiled.outputs]
        counts: Counter[str] = Counter()
        for layer in compiled.get_runtime_model().get_ordered_ops():
            info = layer.get_rt_info()
            if "layerType" in info and info["layerType"].astype(str) in WEIGHTED:
                # The kernel's name ends in what it computes in; runtimePrecision tells how the weights are stored.
                kernel = info["primitiveType" if "primitiveType" in info else "runtimePrecision"].astype(str)
                precision = kernel.rpartition("_")[2].lower()
                counts[SHORT_NAMES.get(precision, precision)] += 1
        self.executed_precision = summarize_precisions(counts)

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """One batch; outputs by name, copied out of OpenVINO's memory."""
        try:
            results = self._request.infer(dict(inputs), share_inputs=True)
        except RuntimeError as error:
            raise failed_on(inputs, "OpenVINO", error) from error
        return {name: np.array(results[i]) for i, name in enumerate(self._outputs)}


@cache
def _openvino() -> Any:
    """The package, imported with its telemetry off."""
    os.environ.setdefault("OPENVINO_TELEMETRY_DISABLED", "1")
    import openvino

    return openvino


@cache
def _core() -> Any:
    return _openvino().Core()
