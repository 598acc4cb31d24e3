"""The ``tensorrt-rtx`` target: engines of TensorRT for RTX, built on any machine, run on GeForce and RTX GPUs."""

from __future__ import annotations

from pathlib import Path

import onnx

from quantkit.core.artifact import Artifact
from quantkit.core.cuda import PREFIX, device_count
from quantkit.core.recipe import Recipe
from quantkit.graph.model_file import ModelFile
from quantkit.targets.base import Availability, Engine, PrepareRequest
from quantkit.targets.handoff import HandOff, HandOffRequest
from quantkit.targets.parsing import Parsing
from quantkit.targets.session import DeviceSession
from quantkit.targets.tensorrt.engine import cuda
from quantkit.targets.tensorrt.engine.libraries import RTX
from quantkit.targets.tensorrt.target import TensorRT, fp16_artifact, int8_artifact


class TensorRTForRTX(TensorRT):
    """Builds engines from strongly typed models, on any machine; runs them where there is an RTX GPU.

    The dialect, and so placement, rounding and layers, are those of TensorRT. Its cache and dynamic ranges are not
    written, because only implicit quantization reads them, which this library does not have.
    """

    name = "tensorrt-rtx"
    only_by_name = True

    def availability(self) -> Availability:
        """Tell if engines can be run on this machine. They can be built wherever the library is."""
        builds, runs = RTX.builds(), RTX.availability()
        if not builds.works:
            return runs
        if runs.works and _gpus():
            return runs
        reason = runs.reason or "no GPU here is one that it builds for"
        hint = runs.hint if runs.hint == RTX.install_command() else _needs()
        return Availability(
            False, builds.version, f"its engines are built here, but need an RTX GPU to run ({reason})", hint
        )

    def devices(self) -> tuple[str, ...]:
        """Return the GPUs that its engines run on, as ``cuda:0`` and so on."""
        return tuple(f"{PREFIX}{number}" for number in _gpus())

    def fingerprint(self, precision: str) -> str:
        """Return the version of onnxruntime, whose converter makes FP16."""
        from onnxruntime import __version__

        return f"onnxruntime {__version__}"

    def export(self, model: ModelFile, recipe: Recipe, precision: str, folder: Path, variant: str = "") -> Artifact:
        """Write the models that engines are built from, as TensorRT's export does, without its cache and ranges.

        The Q/DQ ``model.onnx`` over FP32 is what onnxruntime computes.
        """
        if precision == "fp16":
            return fp16_artifact(self.name, model, recipe, folder)
        return int8_artifact(self.name, model, self.quantized(model, recipe), folder)

    def parsings(self, path: Path, proto: onnx.ModelProto) -> list[Parsing]:
        """Ask its parser, which needs no GPU."""
        from quantkit.targets.tensorrt.check import asked

        return [asked(RTX, path, proto)]

    def hand_off(self, request: HandOffRequest) -> HandOff | None:
        """Return None: the engines that ``quantkit build`` makes are what is handed on."""
        return None

    def reuse(self, folder: Path, earlier: Path) -> None:
        """Copy nothing, because nothing is timed."""

    def engines(self, request: PrepareRequest) -> list[Engine]:
        """Build ``engines/<precision>[-strong]/`` for each precision, or reuse engines that are still valid."""
        from quantkit.targets.tensorrt.engine.build import build_engines_ahead

        return build_engines_ahead(request, self.settings.build, next(iter(_gpus()), None))

    def load(self, artifact: Artifact, device: str) -> DeviceSession:
        """Load an engine that :meth:`engines` built.

        Raises:
            BadInput: A file is damaged.
            BackendMissing: There is no such device, or it has too little memory.
            TargetRefuses: The engine was built for GPUs of other compute capabilities, or with another release.
        """
        from quantkit.targets.tensorrt.engine.session import load_engine

        return load_engine(artifact.path, device, RTX, self.settings.build.plugins)


def _gpus() -> list[int]:
    """Return the numbers of the GPUs here that the library builds for."""
    if not RTX.availability().works:
        return []
    from quantkit.targets.tensorrt.engine.capabilities import known

    there = known(RTX)
    return [number for number in range(device_count()) if cuda.compute_capability(number) in there]


def _needs() -> str:
    """Return where engines can be measured, in a sentence."""
    from quantkit.targets.tensorrt.engine.capabilities import known

    return f"Measure them where an RTX GPU is, of compute capability {', '.join(known(RTX))}."
