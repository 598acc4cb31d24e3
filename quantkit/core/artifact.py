"""The files that a target runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantkit.core.layers import Layers

PRECISIONS = ("fp32", "fp16", "int8")
KNOWN_PRECISIONS = ("fp32", "tf32", "fp16", "int8")  # TF32 is FP32 on tensor cores; only TensorRT has it


@dataclass(frozen=True)
class Artifact:
    """A model for one target and precision.

    Attributes:
        target: The name of the target.
        precision: The precision, such as "int8".
        files: All files of the model; the first is the one to load.
        notes: Sentences about how it was made.
        variant: Distinguishes artifacts of one target and precision that were made in different ways.
        layers: What became of the model's weighted layers; None if the artifact is not INT8, or if that is not known.
    """

    target: str
    precision: str
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    variant: str = ""
    layers: Layers | None = None

    @property
    def path(self) -> Path:
        """The file to load."""
        return self.files[0]

    @property
    def size_bytes(self) -> int:
        """The size of all files on disk, in bytes."""
        return sum(file.stat().st_size for file in self.files)
