"""The protocols that every target implements."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from quantkit.core.artifact import Artifact
from quantkit.core.calibration import Calibration
from quantkit.core.comparison import LayerTime
from quantkit.core.errors import BadInput
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


class Target(Protocol):
    """A runtime and its file formats."""

    @property
    def name(self) -> str:
        """The name used on the command line and in files."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions it can export."""

    def availability(self) -> Availability:
        """True if models can be run with it here, and if not why and what to do."""

    def can_export(self) -> bool:
        """True if its files can be written here; some need no vendor library."""

    def devices(self) -> tuple[str, ...]:
        """The devices it sees, most useful first; empty when it does not work here."""

    def variants(self, precision: str) -> tuple[str, ...]:
        """The ways in which it is set to make a precision; ("",) where there is but one."""

    def export(
        self, model: ModelFile, calibration: Calibration, precision: str, folder: Path, variant: str = ""
    ) -> Artifact:
        """Write the files for one precision into an empty ``folder``."""

    def load(self, artifact: Artifact, device: str) -> Session:
        """Load an artifact. Raises BackendMissing when the device is absent."""

    def layer_outputs(self, artifact: Artifact, tensors: Collection[str]) -> LayerOutputs:
        """What tensors of the user's model are in an exported INT8 artifact, rounded where they are; on the CPU."""

    def factors(
        self, model: ModelFile, calibration: Calibration, artifact: Artifact
    ) -> Mapping[str, npt.NDArray[np.float64]]:
        """What the channels of tensors are multiplied by in an INT8 artifact: (C,) by tensor; others are as they were.

        By ``quantkit.transforms.equalization``.
        """


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
