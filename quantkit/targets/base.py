"""The protocols that every target implements."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from quantkit.core.artifact import Artifact
from quantkit.core.comparison import LayerTime
from quantkit.core.errors import BadInput, TargetRefuses
from quantkit.core.progress import Progress, silent
from quantkit.core.recipe import Recipe
from quantkit.core.record import Record
from quantkit.core.wording import line_of
from quantkit.graph.model_file import ModelFile


@dataclass(frozen=True)
class Availability:
    """True if a target can run models here. ``reason`` and ``hint`` are empty when it can."""

    works: bool
    version: str = ""
    reason: str = ""
    hint: str = ""


class Session(Protocol):
    """A model loaded on a device."""

    @property
    def executed_precision(self) -> str:
        """What the Conv, Gemm and MatMul layers truly run in: "f32", "int8", or a mix such as "int8 52, f32 1"."""

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """One batch, synchronously; outputs by name."""


@dataclass(frozen=True)
class RequestTimes:
    """Milliseconds of single inferences by the runtime's own clock, and the mean of all, waiting included."""

    latency: Sequence[float]
    back_to_back: float


@runtime_checkable
class TimedSession(Session, Protocol):
    """A session that times inferences itself, of a batch that lies in the runtime's memory already."""

    @property
    def runtime(self) -> dict[str, str]:
        """How it runs, in the runtime's own words: threads, streams and so on."""

    def times(self, inputs: Mapping[str, npt.NDArray[Any]], repeats: int) -> RequestTimes:
        """Time ``repeats`` inferences of one batch."""

    def layer_times(self, inputs: Mapping[str, npt.NDArray[Any]], repeats: int) -> tuple[LayerTime, ...]:
        """Mean milliseconds of every layer, in order; what the session times is not disturbed by it."""


@dataclass(frozen=True)
class DeviceTimes:
    """Milliseconds by the device's own clock: of single inferences, and the mean of those enqueued back to back.

    ``compute`` leaves out the copies between host and device, ``with_copies`` has them. ``graph`` leaves them out,
    too, and is of all kernels launched as one CUDA graph; empty where that cannot be.
    """

    compute: Sequence[float]
    with_copies: Sequence[float]
    back_to_back: float
    graph: Sequence[float] = ()


@runtime_checkable
class DeviceSession(Session, Protocol):
    """A model loaded on a device with a clock and memory of its own."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of the device's memory that the loaded model occupies."""

    @property
    def device_name(self) -> str:
        """Such as "NVIDIA H200"."""

    @property
    def bus(self) -> str:
        """The device's place on the PCI bus, such as "0000:65:00.0"."""

    def device_times(self, inputs: Mapping[str, npt.NDArray[Any]], repeats: int) -> DeviceTimes:
        """Time ``repeats`` inferences of one batch."""

    def layer_times(self, inputs: Mapping[str, npt.NDArray[Any]], repeats: int) -> tuple[LayerTime, ...]:
        """Mean milliseconds of every layer, in order."""


class LayerOutputs(Protocol):
    """A model with the outputs of its layers as its own."""

    @property
    def names(self) -> tuple[str, ...]:
        """The wanted tensors that are there, by their names in the user's model."""

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """One batch: floating-point arrays by those names, until the next batch. Raises BadInput."""


@dataclass(frozen=True)
class PrepareRequest:
    """What a target is asked to make ready for a device.

    ``precisions`` are wanted in this order. ``folder`` is the target's own in the run, ``batches`` are the batch sizes
    that will be run. ``export`` writes this target's files for some precisions, or uses those that still fit. With
    ``lenient`` a precision that the target cannot make is left out with a warning.
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
        """The same for one device and these batch sizes."""
        return replace(self, device=device, batches=batches, fresh=fresh)


class Target(Protocol):
    """A runtime and its file formats.

    Subclass it for a target of your own, and install the class under the entry-point group ``quantkit.targets``. It is
    made with its ``Settings``: the table ``[targets.NAME]`` of ``quantkit.toml``.

    ``precisions`` are those it can export. ``on_accelerator`` is true for a target whose devices may be absent, so that
    one that nobody asked for by name may be left out. ``layers_from_export`` is true where what is loaded does not
    tell its layers' outputs, and the exported INT8 file does.
    """

    name: str
    precisions: tuple[str, ...]
    Settings: type[Record] = Record
    on_accelerator: bool = False
    layers_from_export: bool = False

    def availability(self) -> Availability:
        """Say if models can be run with it here, and if not why and what to do."""

    def devices(self) -> tuple[str, ...]:
        """The devices it sees, most useful first; empty when it does not work here."""

    def export(self, model: ModelFile, recipe: Recipe, precision: str, folder: Path, variant: str = "") -> Artifact:
        """Write the files for one precision into an empty ``folder``. Raises TargetRefuses, BackendMissing."""

    def load(self, artifact: Artifact, device: str) -> Session:
        """Load an artifact. Raises BackendMissing when the device is absent."""

    def can_export(self) -> bool:
        """True if its files can be written here; some need no vendor library."""
        return self.availability().works

    def variants(self, precision: str) -> tuple[str, ...]:
        """The ways in which it is set to make a precision; ("",) where there is but one."""
        return ("",)

    def fingerprint(self, precision: str) -> str:
        """What, beside model and recipe, decides what its files hold; files of another one are written anew."""
        return ""

    def is_users_own(self, precision: str) -> bool:
        """True if the artifact of a precision is the user's own file, so that nothing is written."""
        return False

    def prepare(self, request: PrepareRequest) -> list[Artifact]:
        """Make artifacts ready to be loaded. By default those that are exported."""
        return request.export([precision for precision in request.precisions if precision in self.precisions])

    def layer_outputs(self, artifact: Artifact, tensors: Collection[str]) -> LayerOutputs:
        """What tensors of the user's model are in an exported INT8 artifact, rounded where they are; on the CPU.

        Raises TargetRefuses where the target does not tell.
        """
        raise TargetRefuses(f"{self.name} does not tell the outputs of layers.", "Nothing else depends on it.")

    def factors(self, model: ModelFile, recipe: Recipe, artifact: Artifact) -> Mapping[str, npt.NDArray[np.float64]]:
        """What the channels of tensors are multiplied by in an INT8 artifact: (C,) by tensor; others are as they were.

        By ``quantkit.transforms.equalization``.
        """
        return {}


@dataclass(frozen=True)
class Engine:
    """What a target built: the artifact to load, and the record beside it.

    ``cells`` are what people are told of it, text by column, and ``footnote`` what all engines have in common.
    """

    artifact: Artifact
    record: Record
    cells: Mapping[str, str]
    footnote: str = ""


@runtime_checkable
class BuildsEngines(Protocol):
    """A target whose models are built for one machine before they are loaded."""

    def engines(self, request: PrepareRequest) -> list[Engine]:
        """Build an engine for each precision, or use those that still fit."""


def canonical_device(device: str) -> str:
    """A device as its runtime spells it, whatever case it was given in: "CPU", "AUTO:GPU,CPU", but "cuda:0"."""
    return device.lower() if device.lower().startswith("cuda") else device.upper()


def failed_on(inputs: Mapping[str, npt.NDArray[Any]], runtime: str, error: Exception) -> BadInput:
    """The error for a batch that a loaded model cannot run on."""
    shapes = ", ".join(f"{name} {array.shape}" for name, array in inputs.items())
    return BadInput(
        f"The model failed in {runtime} on an input of shape {shapes} ({line_of(error, last=True)}).",
        "Check the data against the model; a batch that is declared dynamic may still be fixed inside it.",
    )


def summarize_precisions(counts: Mapping[str, int]) -> str:
    """ "f32" for one precision, "int8 52, f32 1" for several, most frequent first."""
    if not counts:
        return "unknown"
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items(), key=lambda item: -item[1]))
