"""A file that a target runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PRECISIONS = ("fp32", "fp16", "int8")
KNOWN_PRECISIONS = ("fp32", "tf32", "fp16", "int8")  # TF32 is FP32 with tensor cores, which only TensorRT has


@dataclass(frozen=True)
class Artifact:
    """A model for one target and precision. ``files`` are all it needs; the first is the one to load.

    ``variant`` tells artifacts of one target and precision apart that were made in different ways.
    """

    target: str
    precision: str
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    variant: str = ""

    @property
    def path(self) -> Path:
        """The file to load."""
        return self.files[0]

    @property
    def size_bytes(self) -> int:
        """Bytes on disk of all files."""
        return sum(file.stat().st_size for file in self.files)
