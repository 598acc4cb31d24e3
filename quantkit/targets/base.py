"""The protocols that every target implements."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import onnx

from quantkit.core.artifact import Artifact
from quantkit.core.errors import BadInput, TargetRefuses
from quantkit.core.progress import Progress, silent
from quantkit.core.recipe import Recipe
from quantkit.core.record import Record
from quantkit.core.wording import line_of
from quantkit.graph.model_file import ModelFile
from quantkit.qdq.layers import Quantized
from quantkit.targets.handoff import HandOff, HandOffRequest
from quantkit.targets.parsing import Parsing
from quantkit.targets.session import LayerOutputs, Session
from quantkit.transforms.equalized import Equalized


@dataclass(frozen=True)
class Availability:
    """Tells if a target can run models on this machine.

    Attributes:
        works: True if it can.
        version: The version of the runtime.
        reason: The reason why it cannot; empty if it can.
        hint: What the user can do about that; empty if it can.
    """

    works: bool
    version: str = ""
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True)
class PrepareRequest:
    """The models that a target is asked to prepare for a device.

    Attributes:
        model: The user's model.
        recipe: The ranges, exclusions and weights of quantized models.
        precisions: The wanted precisions, in the wanted order.
        folder: The target's own folder in the run.
        export: Writes this target's files for some precisions, or reuses files that are still valid; returns the
            artifacts.
        device: The device that will run the models.
        batches: The batch sizes that will be run.
        lenient: True to leave out a precision that the target cannot prepare, with a warning, instead of raising an
            error.
        fresh: True to build again what could be reused.
        progress: Receives the progress.
    """

    model: ModelFile
    recipe: Recipe
    precisions: Sequence[str]
    folder: Path
    export: Callable[[Sequence[str]], list[Artifact]]
    device: str = ""
    batches: Sequence[int] = (1,)
    lenient: bool = False
    fresh: bool = False
    progress: Progress = silent

    def on(self, device: str, batches: Sequence[int], fresh: bool = False) -> PrepareRequest:
        """Return the same request for another device.

        Args:
            device: The device.
            batches: The batch sizes that will be run.
            fresh: True to build again what could be reused.
        """
        return replace(self, device=device, batches=batches, fresh=fresh)


class Target(Protocol):
    """A runtime and its file formats.

    To add a target, subclass this class and install it under the entry-point group ``quantkit.targets``. It is
    constructed with an instance of its ``Settings``, which is read from the table ``[targets.NAME]`` of
    ``quantkit.toml``. The required members are ``name``, ``precisions``, ``availability``, ``devices``, ``export`` and
    ``load``.

    Attributes:
        name: The name that users give.
        precisions: The precisions that the target can export.
        Settings: The record of the target's settings.
        on_accelerator: True if the target's devices may be absent, so that the target may be left out if the user did
            not ask for it by name.
        only_by_name: True if the target is left out unless the user asks for it by name.
        is_reference: True for the runtime whose FP32 all targets are compared with.
        reformats: True if a layer in floating point between layers in INT8 costs conversions, so that tuning leaves out
            whole families of layers.
        layers_from_export: True if the outputs of layers come from the exported INT8 file because the loaded model does
            not give them.
    """

    name: str
    precisions: tuple[str, ...]
    Settings: type[Record] = Record
    on_accelerator: bool = False
    only_by_name: bool = False
    is_reference: bool = False
    layers_from_export: bool = False
    reformats: bool = False

    def availability(self) -> Availability:
        """Tell if models can be run on this machine; if not, tell why and what the user can do."""

    def devices(self) -> tuple[str, ...]:
        """Return the devices that the target finds, the most useful first; empty if the target does not work here."""

    def export(self, model: ModelFile, recipe: Recipe, precision: str, folder: Path, variant: str = "") -> Artifact:
        """Write the files for one precision.

        Args:
            model: The user's model.
            recipe: The ranges, exclusions and weights of a quantized model.
            precision: One of ``precisions``.
            folder: An empty folder for the files.
            variant: One of :meth:`variants`; empty means the default.

        Returns:
            The artifact, with the file to load first.

        Raises:
            TargetRefuses: The target cannot express the model.
            BackendMissing: A library that is needed is not installed.
        """

    def load(self, artifact: Artifact, device: str) -> Session:
        """Load an artifact on a device.

        Args:
            artifact: An artifact that :meth:`export` or :meth:`prepare` returned.
            device: The name of the device, in upper or lower case.

        Returns:
            The session.

        Raises:
            BackendMissing: The device or a library that is needed is absent.
            TargetRefuses: The runtime cannot load the model.
        """

    def check(
        self, artifact: Artifact, sample: Mapping[str, npt.NDArray[Any]] | None
    ) -> Mapping[str, npt.NDArray[Any]] | None:
        """Load an artifact that was just written as its user will, and compute one sample.

        Args:
            artifact: The artifact.
            sample: One run's inputs; None only loads it.

        Returns:
            The outputs by name; None if nothing was computed.

        Raises:
            BackendMissing: It cannot be loaded on this machine.
            TargetRefuses: A file is not valid, or does not load.
        """
        devices = self.devices()
        if not devices:
            return None
        session = self.load(artifact, devices[0])
        return None if sample is None else session.infer(sample)

    def parsings(self, path: Path, proto: onnx.ModelProto) -> list[Parsing]:
        """Let the target's own parsers read a model, and say what they refuse; by default, none is asked.

        Args:
            path: The user's ONNX file.
            proto: The model in it, without external data.

        Returns:
            What each parser says; one that is not installed is unchecked.
        """
        return [Parsing(self.name, unchecked="it has no parser that quantkit knows", hint="Export, and load it.")]

    def can_export(self) -> bool:
        """True if the target's files can be written on this machine; some targets need no vendor library for that."""
        return self.availability().works

    def hand_off(self, request: HandOffRequest) -> HandOff | None:
        """Return what whoever deploys the files needs to know; None, the default, if there is nothing to say."""
        return None

    def variants(self, precision: str) -> tuple[str, ...]:
        """Return the variants of a precision that the settings ask for; ("",) if there is only one."""
        return ("",)

    def fingerprint(self, precision: str) -> str:
        """Return a string of everything besides model and recipe that affects the target's files.

        Files that were written with another fingerprint are written again.
        """
        return ""

    def is_users_own(self, precision: str) -> bool:
        """True if the artifact of a precision is the user's own file, so that nothing is written."""
        return False

    def prepare(self, request: PrepareRequest) -> list[Artifact]:
        """Return artifacts that are ready to load. By default, these are the exported files."""
        return request.export([precision for precision in request.precisions if precision in self.precisions])

    def reuse(self, folder: Path, earlier: Path) -> None:
        """Copy what makes further artifacts of a similar model faster to prepare; by default, there is nothing.

        Args:
            folder: The target's folder of the artifacts to come.
            earlier: That of earlier ones.
        """
        return None

    def layer_outputs(self, artifact: Artifact, tensors: Collection[str]) -> LayerOutputs:
        """Open an exported INT8 artifact to read tensors of the user's model, rounded as the artifact rounds them.

        The tensors are computed on the CPU.

        Args:
            artifact: An artifact that :meth:`export` returned.
            tensors: The wanted tensors, by their names in the user's model.

        Returns:
            The outputs of layers.

        Raises:
            TargetRefuses: The target cannot give the outputs of layers.
        """
        raise TargetRefuses(f"{self.name} does not tell the outputs of layers.", "Nothing else depends on it.")

    def quantized(self, model: ModelFile, recipe: Recipe) -> Quantized:
        """Make the Q/DQ model whose placement the target's INT8 files have, for a simulation in onnxruntime.

        Args:
            model: The user's model, with the recipe's weights.
            recipe: The ranges and exclusions.

        Returns:
            The quantized copy, and what became of each weighted layer.

        Raises:
            TargetRefuses: The target has no such model, or the model cannot be prepared for Q/DQ.
        """
        raise TargetRefuses(f"{self.name} has no Q/DQ model to simulate.", "Name another target.")

    def floating(self, model: ModelFile, recipe: Recipe) -> Equalized:
        """Make the floating-point model that :meth:`quantized` places pairs in, of the same function as the user's.

        Args:
            model: The user's model, with the recipe's weights.
            recipe: The ranges and exclusions.

        Returns:
            The prepared copy, with equalized channels.

        Raises:
            TargetRefuses: The target has no Q/DQ model, or the model cannot be prepared for Q/DQ.
        """
        raise TargetRefuses(f"{self.name} has no Q/DQ model to simulate.", "Name another target.")

    def factors(self, model: ModelFile, recipe: Recipe, artifact: Artifact) -> Mapping[str, npt.NDArray[np.float64]]:
        """Return the factors by which an INT8 artifact multiplies the channels of tensors.

        They come from ``quantkit.transforms.equalization``.

        Args:
            model: The user's model.
            recipe: The recipe that the artifact was made from.
            artifact: The artifact.

        Returns:
            The factors by tensor, (C,). Other tensors are not changed.
        """
        return {}


@dataclass(frozen=True)
class Engine:
    """An engine that a target built.

    Attributes:
        artifact: The artifact to load.
        record: The record that is stored beside it.
        cells: The engine's row in a table for people, as text by column.
        footnote: A remark for people that applies to all engines.
    """

    artifact: Artifact
    record: Record
    cells: Mapping[str, str]
    footnote: str = ""


@runtime_checkable
class BuildsEngines(Protocol):
    """A target whose models are built for one machine before they are loaded."""

    def engines(self, request: PrepareRequest) -> list[Engine]:
        """Build an engine for each precision, or reuse engines that are still valid."""


def canonical_device(device: str) -> str:
    """Return a device name in its runtime's spelling, for any case: "CPU", "AUTO:GPU,CPU", but "cuda:0"."""
    return device.lower() if device.lower().startswith("cuda") else device.upper()


def failed_on(inputs: Mapping[str, npt.NDArray[Any]], runtime: str, error: Exception) -> BadInput:
    """Return the error for a batch that a loaded model cannot run.

    Args:
        inputs: The arrays of the batch by input.
        runtime: The name of the runtime, for the message.
        error: The runtime's error.
    """
    shapes = ", ".join(f"{name} {array.shape}" for name, array in inputs.items())
    return BadInput(
        f"The model failed in {runtime} on an input of shape {shapes} ({line_of(error, last=True)}).",
        "Check the data against the model; a batch that is declared dynamic may still be fixed inside it.",
    )


def summarize_precisions(counts: Mapping[str, int]) -> str:
    """Return "f32" for one precision, and "int8 52, f32 1" for several, the most frequent first."""
    if not counts:
        return "unknown"
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items(), key=lambda item: -item[1]))
