"""The ``tensorrt`` target: ONNX, calibration caches and dynamic ranges on any machine, engines if there is a GPU."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from pydantic import Field

from quantkit.core.artifact import Artifact
from quantkit.core.cuda import PREFIX, device_count
from quantkit.core.errors import BackendMissing, BadInput, TargetRefuses
from quantkit.core.files import make_folder, write_text
from quantkit.core.ranges import TensorRange
from quantkit.core.recipe import Recipe
from quantkit.core.record import Record
from quantkit.core.wildcards import matches
from quantkit.core.wording import some
from quantkit.formats.dynamic_ranges import ranges_text
from quantkit.formats.tensorrt_cache import ENTROPY, MINMAX, cache_text
from quantkit.graph.model_file import ModelFile
from quantkit.qdq.carried import QuantizedWeight, carry_weights
from quantkit.qdq.layers import Quantized
from quantkit.targets.base import Availability, Engine, PrepareRequest, Target
from quantkit.targets.handoff import HandOff, HandOffRequest
from quantkit.targets.parsing import Parsing
from quantkit.targets.session import DeviceSession, LayerOutputs
from quantkit.targets.tensorrt.engine.libraries import TENSORRT
from quantkit.targets.tensorrt.engine.plan import STRONG_FILE, BuildSettings
from quantkit.targets.tensorrt.handoff import CACHE_FILE, FLOAT_FILE, RANGES_FILE, hand_off
from quantkit.targets.tensorrt.opsets import Reads
from quantkit.transforms.equalized import Equalized

log = logging.getLogger("quantkit")
DEFAULT_VERSION = "8.6.0"  # the release whose calibrator quantkit reproduces


class TensorRTSettings(Record):
    """The settings of the target.

    Attributes:
        version: ``[export] tensorrt``, the version that will read the files; None writes what 8.6 to 11 read.
        build: ``[build]``.
    """

    version: str | None = None
    build: BuildSettings = Field(default_factory=BuildSettings)


class TensorRT(Target):
    """Writes files that TensorRT 8 to 11 read, on any machine; builds and runs engines if there is a GPU."""

    name = "tensorrt"
    precisions = ("fp16", "int8")
    Settings = TensorRTSettings
    on_accelerator = True
    reformats = True
    layers_from_export = True  # an engine does not give the outputs of its layers, but the file it is built from does

    def __init__(self, settings: TensorRTSettings | None = None) -> None:
        self.settings = settings or TensorRTSettings()

    def availability(self) -> Availability:
        """Tell if engines can be built and run on this machine."""
        return TENSORRT.availability()

    def can_export(self) -> bool:
        """Always true, because exporting does not need TensorRT."""
        return True

    def parsings(self, path: Path, proto: onnx.ModelProto) -> list[Parsing]:
        """Ask TensorRT's parser, and the table of the opsets that its releases read."""
        from quantkit.targets.tensorrt.check import parsings_of

        return parsings_of(path, proto, self.settings.version)

    def devices(self) -> tuple[str, ...]:
        """Return the GPUs as ``cuda:0`` and so on; empty if engines cannot run here."""
        if not self.availability().works:
            return ()
        return tuple(f"{PREFIX}{number}" for number in range(device_count()))

    def fingerprint(self, precision: str) -> str:
        """Return the version in the calibration cache, and that of onnxruntime, whose converter makes FP16."""
        from onnxruntime import __version__

        return f"TensorRT {self.settings.version or 'any'}, onnxruntime {__version__}"

    def export(self, model: ModelFile, recipe: Recipe, precision: str, folder: Path, variant: str = "") -> Artifact:
        """Write the files for one precision.

        For INT8 these are a Q/DQ ``model.onnx`` (TensorRT 8.6 to 11) and ``strongly_typed.onnx`` (10 and 11),
        ``calibration.cache`` and ``dynamic_ranges.txt`` (8 to 10). For FP16 it is an FP16 ``model.onnx`` (10 and 11).
        If the settings name a version, what it has no use for is left out, and its newest opset is kept to. A model of
        a newer one, or with Splits that TensorRT 8.6 misreads, also comes as ``fp32.onnx``, for the modes that build
        from the model itself.

        Args:
            model: The user's model.
            recipe: The ranges, exclusions and weights.
            precision: "fp16" or "int8".
            folder: An empty folder for the files.
            variant: Not used.

        Returns:
            The artifact.

        Raises:
            TargetRefuses: The model cannot be prepared for Q/DQ or converted to FP16, or to an opset that the version
                reads. If only ``strongly_typed.onnx`` cannot be made, a note says so instead.
            BadConfig: The version is not one.
        """
        from quantkit.graph.save import save_model
        from quantkit.targets.tensorrt.readable import readable

        reads = Reads(self.settings.version)
        made, told = readable(model, reads, recipe.calibration.sample)
        if precision == "fp16":
            artifact = fp16_artifact(self.name, made, recipe, folder)
        else:
            without = "" if reads.strong else f"{reads.name} has no strongly typed networks."
            quantized = self.quantized(made, recipe)
            artifact = int8_artifact(self.name, made, quantized, folder, without)
            told += _blurred(quantized, reads)
        files, notes = artifact.files, told + artifact.notes
        if made is not model:
            save_model(made.load(), folder, FLOAT_FILE)
            files += tuple(sorted(folder.glob(f"{FLOAT_FILE}*")))
        if precision == "fp16":
            return replace(artifact, files=files, notes=notes)
        if not reads.implicit:
            notes += (f"{CACHE_FILE} and {RANGES_FILE} were not written: {reads.name} has no implicit INT8.",)
            return replace(artifact, files=files, notes=notes)
        amax = {name: tensor.amax for name, tensor in recipe.quantized_ranges.items()}
        algorithm = MINMAX if recipe.method == "minmax" else ENTROPY
        write_text(folder / CACHE_FILE, cache_text(amax, self.settings.version or DEFAULT_VERSION, algorithm))
        write_text(folder / RANGES_FILE, ranges_text(amax))
        files = (*files, folder / CACHE_FILE, folder / RANGES_FILE)
        return replace(artifact, files=files, notes=notes + _lacking(model, recipe))

    def hand_off(self, request: HandOffRequest) -> HandOff | None:
        """Return ``trtexec`` lines for the version that the settings name, or for 8.6 to 11."""
        return hand_off(request, Reads(self.settings.version), self.settings.build.shapes)

    def reuse(self, folder: Path, earlier: Path) -> None:
        """Copy the timing cache, with which an engine of a similar model is built in a fraction of the time."""
        from quantkit.targets.tensorrt.engine.build import ENGINES
        from quantkit.targets.tensorrt.engine.child import TIMING_CACHE

        cache = earlier / ENGINES / TIMING_CACHE
        if cache.is_file():
            make_folder(folder / ENGINES)
            shutil.copyfile(cache, folder / ENGINES / TIMING_CACHE)

    def engines(self, request: PrepareRequest) -> list[Engine]:
        """Build ``engines/<precision>[-<mode>]/`` for each precision, or reuse engines that are still valid."""
        from quantkit.targets.tensorrt.engine.build import build_engines

        return build_engines(request, self.settings.build)

    def prepare(self, request: PrepareRequest) -> list[Artifact]:
        """Return the artifacts of engines.

        If the request is lenient, an engine that cannot be built is left out with a warning.
        """
        if not request.lenient:
            return [engine.artifact for engine in self.engines(request)]
        made = []
        for precision in request.precisions:
            try:
                made += [engine.artifact for engine in self.engines(replace(request, precisions=[precision]))]
            except (BadInput, BackendMissing) as refusal:
                log.warning("No %s engine for %s: %s", precision, self.name, refusal)
        return made

    def load(self, artifact: Artifact, device: str) -> DeviceSession:
        """Load an engine that :meth:`engines` built.

        Raises:
            BadInput: A file is damaged.
            BackendMissing: The device is absent or has too little memory.
            TargetRefuses: The engine was built for another machine.
        """
        from quantkit.targets.tensorrt.engine.session import load_engine

        return load_engine(artifact.path, device, plugins=self.settings.build.plugins)

    def check(
        self, artifact: Artifact, sample: Mapping[str, npt.NDArray[Any]] | None
    ) -> Mapping[str, npt.NDArray[Any]] | None:
        """Compute one sample of the Q/DQ model in onnxruntime, pair by pair as it says.

        Raises:
            BadModel: onnxruntime refuses the file.
        """
        from quantkit.runtime.reference import ReferenceSession

        if artifact.precision != "int8":
            return None
        session = ReferenceSession(artifact.path, optimized=False)
        return None if sample is None else session.infer(sample)

    def layer_outputs(self, artifact: Artifact, tensors: Collection[str]) -> LayerOutputs:
        """Return the outputs of layers of an exported Q/DQ ``model.onnx``, computed by onnxruntime.

        An engine does not give its internal tensors. It rounds what the file rounds, except tensors that are inside one
        of its kernels.
        """
        from quantkit.runtime.layer_outputs import OnnxOutputs

        return OnnxOutputs.of_quantized(artifact.path, tensors)

    def quantized(self, model: ModelFile, recipe: Recipe) -> Quantized:
        """Return the Q/DQ model of TensorRT's dialect, before zero-points are folded into biases."""
        from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt

        return quantized_for_tensorrt(
            model, recipe.quantized_ranges, recipe.exclude, recipe.channels, recipe.histograms, recipe.refinements
        )

    def floating(self, model: ModelFile, recipe: Recipe) -> Equalized:
        """Return the model that :meth:`quantized` places pairs in."""
        from quantkit.transforms.equalized import equalized

        return equalized(model, recipe.quantized_ranges, recipe.channels, symmetric=True, sums=recipe.equalize_sums)

    def factors(self, model: ModelFile, recipe: Recipe, artifact: Artifact) -> Mapping[str, npt.NDArray[np.float64]]:
        """Return the factors of the equalization."""
        return self.floating(model, recipe).factors


def quantized_model(
    model: ModelFile,
    ranges: Mapping[str, TensorRange],
    exclude: Sequence[str],
    weights: Mapping[str, QuantizedWeight] | None = None,
) -> tuple[onnx.ModelProto, list[str]]:
    """Make the Q/DQ model that TensorRT 8.6 to 11 parse, from ranges alone, with all zero-points 0.

    Args:
        model: The user's model.
        ranges: The ranges by tensor.
        exclude: Wildcards; nodes whose name or output matches one stay in floating point.
        weights: Integers and scales of weights by layer, as training may have learned them; other layers' weights are
            rounded.

    Returns:
        The quantized copy, and the layers whose weights were rounded although ``weights`` has others for them.

    Raises:
        TargetRefuses: The model cannot be prepared for Q/DQ.
    """
    from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
    from quantkit.targets.tensorrt.qdq.matrix_weights import with_float_matrices

    made = quantized_for_tensorrt(model, ranges, exclude).proto
    others = carry_weights(made, weights or {})
    return with_float_matrices(made), others


def fp16_artifact(target: str, model: ModelFile, recipe: Recipe, folder: Path) -> Artifact:
    """Write the FP16 model that strongly typed engines are built from; see :meth:`TensorRT.export`."""
    from quantkit.graph.save import MODEL_FILE, save_model
    from quantkit.targets.tensorrt.rtx_parser import notes_on
    from quantkit.transforms.half_precision import half_precision

    half = half_precision(model, strongly_typed=True, ranges=recipe.ranges)
    save_model(half.proto, folder)
    notes = half.notes + notes_on([folder / MODEL_FILE], model.source)
    return Artifact(target, "fp16", tuple(sorted(folder.iterdir())), notes)


def int8_artifact(target: str, model: ModelFile, made: Quantized, folder: Path, without: str = "") -> Artifact:
    """Write the Q/DQ model over FP32, and over FP16 unless there is a reason against that.

    See :meth:`TensorRT.export`. The FP32 one is loaded first.
    """
    from quantkit.graph.save import MODEL_FILE, save_model
    from quantkit.targets.tensorrt.qdq.matrix_weights import with_float_matrices
    from quantkit.targets.tensorrt.qdq.strongly_typed import beyond_scales, quantized_half_precision
    from quantkit.targets.tensorrt.qdq.zero_points import fold_zero_points
    from quantkit.targets.tensorrt.rtx_parser import notes_on

    save_model(with_float_matrices(fold_zero_points(made.proto)), folder)
    notes: tuple[str, ...] = ()
    try:
        if without:
            raise TargetRefuses(without, "Name TensorRT 10 or 11.")
        typed = quantized_half_precision(made.proto)
        save_model(typed.proto, folder, STRONG_FILE)
        notes = tuple(f"{STRONG_FILE}: {note}" for note in beyond_scales(typed))
        notes += notes_on([folder / STRONG_FILE], model.source)
    except TargetRefuses as refusal:
        for file in folder.glob(f"{STRONG_FILE}*"):
            file.unlink()
        notes = (f"{STRONG_FILE} was not written: {refusal.what}",)
    files = sorted(folder.iterdir(), key=lambda file: (not file.name.startswith(MODEL_FILE), file.name))
    return Artifact(target, "int8", tuple(files), notes, layers=made.layers)


def _blurred(quantized: Quantized, reads: Reads) -> tuple[str, ...]:
    """Return a note on the attentions that stay in floating point, which costs time in TensorRT 8.6."""
    if not quantized.blurred:
        return ()
    count, least = len(quantized.blurred), min(quantized.blurred.values())
    whose, worst = ("an attention", "") if count == 1 else (f"{count} attentions", " of the worst")
    note = (
        f"Both products of {whose} stay in floating point: rounding would leave {least:.0f} dB of the "
        f"probabilities{worst}."
    )
    return (f"{note} In TensorRT 8.6 compare with FP16, which was faster on a ViT." if reads.implicit else note,)


def _lacking(model: ModelFile, recipe: Recipe) -> tuple[str, ...]:
    """Return a note on tensors that --tensors quantizable left out, which Q/DQ does not need but implicit mode does."""
    from quantkit.graph.fused import fused_outputs
    from quantkit.graph.graph import Graph
    from quantkit.runtime.out_of_reach import out_of_reach

    known = {*recipe.quantized_ranges, *out_of_reach(model.graph_only, model.source).tensors}
    lack = [
        name
        for name in fused_outputs(Graph(model.graph_only.graph))
        if name not in known and not matches(name, recipe.exclude)
    ]
    if not lack:
        return ()
    return (
        f"{CACHE_FILE} and {RANGES_FILE} lack {len(lack)} tensors ({some(lack)}), which TensorRT's implicit mode "
        "wants; calibrate all tensors (--tensors, tensors=) to use them. The Q/DQ model is complete.",
    )
