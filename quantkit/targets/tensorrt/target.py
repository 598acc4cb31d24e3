"""The ``tensorrt`` target: ONNX, calibration cache and dynamic ranges from any machine, engines where a GPU is."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from pydantic import Field

from quantkit.core.artifact import Artifact
from quantkit.core.errors import BackendMissing, BadInput, TargetRefuses
from quantkit.core.files import write_text
from quantkit.core.ranges import TensorRange
from quantkit.core.recipe import Recipe
from quantkit.core.record import Record
from quantkit.core.wording import some
from quantkit.formats.dynamic_ranges import ranges_text
from quantkit.formats.tensorrt_cache import ENTROPY, MINMAX, cache_text
from quantkit.graph.model_file import ModelFile
from quantkit.targets.base import Availability, DeviceSession, Engine, LayerOutputs, PrepareRequest, Target
from quantkit.targets.tensorrt.engine import cuda, library
from quantkit.targets.tensorrt.engine.plan import STRONG_FILE, BuildSettings

log = logging.getLogger("quantkit")
DEFAULT_VERSION = "8.6.0"  # the release whose calibrator quantkit reproduces
CACHE_FILE = "calibration.cache"
RANGES_FILE = "dynamic_ranges.txt"


class TensorRTSettings(Record):
    """``[export] tensorrt``, the version in the cache's first line, and ``[build]``."""

    version: str = DEFAULT_VERSION
    build: BuildSettings = Field(default_factory=BuildSettings)


class TensorRT(Target):
    """Writes what TensorRT 8 to 11 read, on any machine; builds and runs engines where a GPU is."""

    name = "tensorrt"
    precisions = ("fp16", "int8")
    Settings = TensorRTSettings
    on_accelerator = True
    layers_from_export = True  # an engine tells nothing of its layers, the file it is built from does

    def __init__(self, settings: TensorRTSettings | None = None) -> None:
        self.settings = settings or TensorRTSettings()

    def availability(self) -> Availability:
        """True if engines can be built and run here."""
        return library.availability()

    def can_export(self) -> bool:
        """Always: no TensorRT is needed."""
        return True

    def devices(self) -> tuple[str, ...]:
        """``cuda:0`` and so on; none where engines cannot run."""
        if not self.availability().works:
            return ()
        return tuple(f"{cuda.DEVICE_PREFIX}{number}" for number in range(cuda.device_count()))

    def fingerprint(self, precision: str) -> str:
        """The version that stands in the cache."""
        return self.settings.version

    def export(self, model: ModelFile, recipe: Recipe, precision: str, folder: Path, variant: str = "") -> Artifact:
        """For INT8: Q/DQ ``model.onnx`` (TensorRT 8.6 to 10) and ``strongly_typed.onnx`` (10 and 11),
        ``calibration.cache`` and ``dynamic_ranges.txt`` (8 to 10). For FP16: an FP16 ``model.onnx`` (10 and 11).
        """
        from quantkit.graph.save import save_model
        from quantkit.transforms.half_precision import beyond_half, half_precision

        if precision == "fp16":
            typed = half_precision(model, strongly_typed=True)
            save_model(typed, folder)
            return Artifact(self.name, precision, tuple(sorted(folder.iterdir())), beyond_half(typed))
        files, notes = _int8_models(model, recipe, folder)
        amax = {name: tensor.amax for name, tensor in recipe.ranges.items()}
        algorithm = MINMAX if recipe.method == "minmax" else ENTROPY
        write_text(folder / CACHE_FILE, cache_text(amax, self.settings.version, algorithm))
        write_text(folder / RANGES_FILE, ranges_text(amax))
        notes += _lacking(model, recipe)
        return Artifact(self.name, precision, (*files, folder / CACHE_FILE, folder / RANGES_FILE), notes)

    def engines(self, request: PrepareRequest) -> list[Engine]:
        """Build ``engines/<precision>[-<mode>]/`` for each precision, or use those that still fit."""
        from quantkit.targets.tensorrt.engine.build import build_engines

        return build_engines(request, self.settings.build)

    def prepare(self, request: PrepareRequest) -> list[Artifact]:
        """Engines; one that cannot be built is left out with a warning, where the request is lenient."""
        made = []
        for precision in request.precisions:
            try:
                made += [engine.artifact for engine in self.engines(replace(request, precisions=[precision]))]
            except (BadInput, BackendMissing) as refusal:
                if not request.lenient:
                    raise
                log.warning("No %s engine for %s: %s", precision, self.name, refusal)
        return made

    def load(self, artifact: Artifact, device: str) -> DeviceSession:
        """An engine that :meth:`engines` built. Raises BackendMissing, TargetRefuses."""
        from quantkit.targets.tensorrt.engine.session import load_engine

        return load_engine(artifact.path, device)

    def layer_outputs(self, artifact: Artifact, tensors: Collection[str]) -> LayerOutputs:
        """Of an exported ``model.onnx`` with Q/DQ, by onnxruntime: an engine does not tell what it keeps inside.

        An engine rounds what the file rounds, but for tensors that lie inside one of its kernels.
        """
        from quantkit.runtime.layer_outputs import OnnxOutputs

        return OnnxOutputs.of_quantized(artifact.path, tensors)

    def factors(self, model: ModelFile, recipe: Recipe, artifact: Artifact) -> Mapping[str, npt.NDArray[np.float64]]:
        """Those of the equalization."""
        from quantkit.transforms.equalized import equalized

        return equalized(model, recipe.ranges, recipe.channels, symmetric=True).factors


def quantized_model(model: ModelFile, ranges: Mapping[str, TensorRange], exclude: Sequence[str]) -> onnx.ModelProto:
    """The Q/DQ model that TensorRT 8.6 to 10 parse, from ranges alone, with every zero-point at 0.

    Nodes whose name or output matches ``exclude`` stay in floating point. Raises TargetRefuses.
    """
    from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
    from quantkit.targets.tensorrt.qdq.matrix_weights import with_float_matrices

    return with_float_matrices(quantized_for_tensorrt(model, ranges, exclude))


def _int8_models(model: ModelFile, recipe: Recipe, folder: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Both Q/DQ models, the one of FP32 first."""
    from quantkit.graph.save import MODEL_FILE, save_model
    from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
    from quantkit.targets.tensorrt.qdq.matrix_weights import with_float_matrices
    from quantkit.targets.tensorrt.qdq.strongly_typed import beyond_scales, quantized_half_precision
    from quantkit.targets.tensorrt.qdq.zero_points import fold_zero_points

    quantized = quantized_for_tensorrt(model, recipe.ranges, recipe.exclude, recipe.channels)
    save_model(with_float_matrices(fold_zero_points(quantized)), folder)
    notes: tuple[str, ...] = ()
    try:
        typed = quantized_half_precision(quantized)
        save_model(typed, folder, STRONG_FILE)
        notes = tuple(f"{STRONG_FILE}: {note}" for note in beyond_scales(typed))
    except TargetRefuses as refusal:
        notes = (f"{STRONG_FILE} was not written: {refusal.what}",)
    files = sorted(folder.iterdir(), key=lambda file: (not file.name.startswith(MODEL_FILE), file.name))
    return tuple(files), notes


def _lacking(model: ModelFile, recipe: Recipe) -> tuple[str, ...]:
    """A note on the tensors that --tensors quantizable left out: Q/DQ needs none of them, implicit quantization all."""
    from quantkit.graph.fused import fused_outputs
    from quantkit.graph.graph import Graph

    lack = [
        name
        for name in fused_outputs(Graph(model.graph_only.graph))
        if name not in recipe.ranges and not any(fnmatchcase(name, pattern) for pattern in recipe.exclude)
    ]
    if not lack:
        return ()
    return (
        f"{CACHE_FILE} and {RANGES_FILE} lack {len(lack)} tensors ({some(lack)}), which TensorRT's implicit mode "
        "wants; calibrate with --tensors all to use them. The Q/DQ model is complete.",
    )
