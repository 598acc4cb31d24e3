"""The ``openvino`` target: IR files (model.xml and model.bin) in FP32, FP16-compressed and INT8."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from quantkit.core.artifact import PRECISIONS, Artifact
from quantkit.core.errors import TargetRefuses
from quantkit.core.layers import Layers
from quantkit.core.recipe import Recipe
from quantkit.core.wildcards import literal
from quantkit.core.wording import line_of, some
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile
from quantkit.qdq.layers import Quantized
from quantkit.targets.base import Availability, Target, canonical_device
from quantkit.targets.cpu import saturates_u8s8
from quantkit.targets.handoff import HandOff, HandOffRequest
from quantkit.targets.openvino import devices, library
from quantkit.targets.openvino.bisection import offending
from quantkit.targets.openvino.delivery import delivered
from quantkit.targets.openvino.frontend import parsing_of, read_onnx
from quantkit.targets.openvino.settings import OpenVinoSettings
from quantkit.targets.openvino.workarounds import misfused
from quantkit.targets.parsing import Parsing
from quantkit.targets.session import LayerOutputs, TimedSession
from quantkit.transforms.equalized import Equalized

Quantizing = Callable[[Mapping[str, str]], tuple[Any, tuple[str, ...]]]
MODEL_FILES = ("model.xml", "model.bin")
CACHE = "cache"  # a folder beside the precisions of artifacts/openvino/
CHECKED_ON = "CPU"  # an INT8 model must compile on it before it is exported; other devices may be on other machines


class OpenVino(Target):
    """The ``openvino`` target."""

    name = "openvino"
    precisions = PRECISIONS
    Settings = OpenVinoSettings

    def __init__(self, settings: OpenVinoSettings | None = None) -> None:
        self.settings = settings or OpenVinoSettings()

    def fingerprint(self, precision: str) -> str:
        """Return a digest of the version of OpenVINO and, for INT8, of all else that decides an IR."""
        decisive: list[Any] = [library.availability().version]
        if precision == "int8":
            made = self.settings.model_dump(include={"preset", "quantize_for", "model_type"})
            decisive += [made, library.nncf_availability().version, saturates_u8s8()]
        return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:12]

    def availability(self) -> Availability:
        """Return the availability of a tested release of openvino."""
        return library.availability()

    def devices(self) -> tuple[str, ...]:
        """Return the CPU, followed by the other devices that OpenVINO finds."""
        return devices.present() if self.availability().works else ()

    def parsings(self, path: Path, proto: onnx.ModelProto) -> list[Parsing]:
        """Read the model with OpenVINO's ONNX frontend."""
        return [parsing_of(path, proto)]

    def hand_off(self, request: HandOffRequest) -> HandOff:
        """Return ``benchmark_app`` lines, and how the files are served."""
        from quantkit.targets.openvino.handoff import hand_off

        return hand_off(request)

    def variants(self, precision: str) -> tuple[str, ...]:
        """Return the placements for INT8; other precisions have one variant."""
        return tuple(self.settings.placement) if precision == "int8" else ("",)

    def export(self, model: ModelFile, recipe: Recipe, precision: str, folder: Path, variant: str = "") -> Artifact:
        """Write ``model.xml`` and ``model.bin``.

        If an INT8 model does not compile although FP32 does, the layers at fault are found by bisection and left in
        floating point, and a note says so. An INT8 model with dynamic shapes must compute what it computes with fixed
        ones.

        Args:
            model: The user's model.
            recipe: The ranges, exclusions and weights.
            precision: The precision.
            folder: An empty folder for the files.
            variant: The placement of an INT8 model; empty means the first in the settings.

        Returns:
            The artifact.

        Raises:
            BackendMissing: OpenVINO or NNCF is needed and cannot be used.
            TargetRefuses: OpenVINO cannot read or compile the model.
        """
        library.require_openvino()
        files = tuple(folder / name for name in MODEL_FILES)
        if precision != "int8":
            self._save(read_onnx(model.source, model.path), folder, compress=precision == "fp16")
            return Artifact(self.name, precision, files)
        from quantkit.qdq.layers import inner_layers
        from quantkit.targets.openvino.layers import BIAS_ADDED, meant_int8

        placement = variant or self.settings.placement[0]
        seven_bit = saturates_u8s8()
        notes = ("7-bit weights, because this CPU has no VNNI",) if seven_bit else ()

        exclude = _exclusions(model, recipe)

        def quantized(more: Mapping[str, str]) -> tuple[Any, tuple[str, ...]]:
            return self._quantized(placement, model, recipe, exclude | dict(more), seven_bit)

        made, own = quantized({})
        reason = _failure(made)
        if reason is not None:
            made, own = self._without_offending(model, quantized, reason)
        made, kept = delivered(made, recipe.ranges)
        self._save(made, folder, compress=False)
        meant = inner_layers(Graph(model.graph_only.graph)) | meant_int8(made)
        left = {name.removesuffix(BIAS_ADDED): reason for name, reason in meant.items() if reason}
        layers = Layers(len(meant), left)
        return Artifact(self.name, precision, files, notes + own + kept, placement, layers)

    def load(self, artifact: Artifact, device: str) -> TimedSession:
        """Compile an artifact.

        Raises:
            BackendMissing: The device is absent.
            TargetRefuses: The model does not compile.
        """
        from quantkit.targets.openvino.session import OpenVinoSession

        library.require_openvino()
        device = canonical_device(device)
        devices.require(device)
        cache = artifact.path.parent.parent / CACHE if self.settings.cache else None
        return OpenVinoSession(artifact, device, self.settings, cache)

    def layer_outputs(self, artifact: Artifact, tensors: Collection[str]) -> LayerOutputs:
        """Return the outputs of layers, computed from the IR on the CPU.

        OpenVINO fuses less around a tensor that is an output.
        """
        from quantkit.targets.openvino.layer_outputs import OpenVinoOutputs

        library.require_openvino()
        return OpenVinoOutputs(artifact.path, tensors)

    def quantized(self, model: ModelFile, recipe: Recipe) -> Quantized:
        """Return the Q/DQ model that the IR with quantkit's own placement is converted from."""
        return _own_qdq(model, recipe, _exclusions(model, recipe), saturates_u8s8())

    def floating(self, model: ModelFile, recipe: Recipe) -> Equalized:
        """Return the model that :meth:`quantized` places pairs in."""
        from quantkit.transforms.equalized import equalized

        return equalized(model, recipe.quantized_ranges, recipe.channels, sums=recipe.equalize_sums)

    def factors(self, model: ModelFile, recipe: Recipe, artifact: Artifact) -> Mapping[str, npt.NDArray[np.float64]]:
        """Return the factors of the equalization; none for NNCF's placement, whose SmoothQuant adds new tensors."""
        if artifact.variant == "nncf":
            return {}
        return self.floating(model, recipe).factors

    def _quantized(
        self, placement: str, model: ModelFile, recipe: Recipe, exclude: Mapping[str, str], seven_bit: bool
    ) -> tuple[Any, tuple[str, ...]]:
        """Return the INT8 ``openvino.Model`` of one placement, and notes."""
        if placement == "nncf":
            from quantkit.targets.openvino.nncf.placement import placed_by_nncf

            placed, notes = placed_by_nncf(model, recipe, self.settings, seven_bit, exclude)
            return placed.model, notes
        from quantkit.graph.save import MODEL_FILE, save_model
        from quantkit.targets.openvino.layers import mark_excluded
        from quantkit.targets.openvino.tensors import excluded_operations
        from quantkit.transforms.prepare import ensure_names, prepared

        with tempfile.TemporaryDirectory(prefix="quantkit-") as temporary:
            quantized = _own_qdq(model, recipe, exclude, seven_bit)
            save_model(quantized.proto, Path(temporary))
            made = read_onnx(Path(temporary) / MODEL_FILE, model.path)
            proto = prepared(model)
            ensure_names(proto.graph)
            graph = Graph(proto.graph)
            left = {literal(name): reason for name, reason in quantized.layers.left.items()}
            mark_excluded(made, excluded_operations(made, graph, left | dict(exclude)))
            return made, ()

    def _without_offending(self, model: ModelFile, quantized: Quantizing, reason: str) -> tuple[Any, tuple[str, ...]]:
        """Return a model that compiles, with as few layers in floating point as possible, and a note naming them."""
        failure = _failure(read_onnx(model.source, model.path))
        if failure is not None:
            raise TargetRefuses(f"OpenVINO cannot compile {model.path} ({failure}).", "Leave the target openvino out.")
        names = [output for node in model.graph_only.graph.node for output in node.output[:1] if output]

        def without(layers: Sequence[str]) -> dict[str, str]:
            why = "OpenVINO cannot compile it in INT8"
            return {literal(name): why for name in names if name not in layers}

        found = offending(names, lambda layers: _failure(quantized(without(layers))[0]) is None)
        made, notes = quantized(without([name for name in names if name not in found]))
        if _failure(made) is not None:
            raise TargetRefuses(f"OpenVINO cannot compile the INT8 model ({reason}).", "Leave INT8 out.")
        return made, (
            *notes,
            f"{_layers_stay(len(found))} in floating point, because OpenVINO cannot compile INT8 there: {some(found)}.",
        )

    def _save(self, model: Any, folder: Path, compress: bool) -> None:
        library.openvino().save_model(model, str(folder / MODEL_FILES[0]), compress_to_fp16=compress)


def _exclusions(model: ModelFile, recipe: Recipe) -> dict[str, str]:
    """Return the wildcards for what stays in floating point, each with the reason."""
    exclude = {pattern: f"excluded by {pattern!r}" for pattern in recipe.exclude}
    misread = misfused(read_onnx(model.source, model.path), Graph(model.graph_only.graph))
    return exclude | {literal(n): "OpenVINO's CPU device would compute it wrongly behind a mean" for n in misread}


def _own_qdq(model: ModelFile, recipe: Recipe, exclude: Mapping[str, str], seven_bit: bool) -> Quantized:
    from quantkit.targets.openvino.qdq import quantized_for_openvino

    return quantized_for_openvino(
        model,
        recipe.quantized_ranges,
        exclude,
        recipe.channels,
        seven_bit,
        recipe.histograms,
        recipe.refinements,
    )


def _failure(model: Any) -> str | None:
    """Return why a model does not compile; None if it does."""
    try:
        library.core().compile_model(model, CHECKED_ON, {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        return line_of(error, last=True)
    return None


def _layers_stay(count: int) -> str:
    return "1 layer stays" if count == 1 else f"{count} layers stay"
