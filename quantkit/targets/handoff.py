"""What a target hands to whoever deploys its files: which file is what, shell lines, and Triton's configuration."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantkit.core.artifact import Artifact
from quantkit.graph.model_file import ModelFile
from quantkit.graph.model_io import ModelInput

TRITON_TYPES = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "uint16": "TYPE_UINT16",
    "uint32": "TYPE_UINT32",
    "uint64": "TYPE_UINT64",
    "int8": "TYPE_INT8",
    "int16": "TYPE_INT16",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
}
TRITON_FILE = "config.pbtxt"
TRITON_MARK = "# quantkit"


@dataclass(frozen=True)
class HandOffRequest:
    """What a target is asked to hand off.

    Attributes:
        model: The user's model.
        folder: The target's folder, in which the commands are to be given.
        artifacts: The target's artifacts that are there.
        batches: The batch sizes of the run.
        seen: The shape of one calibrated sample by input, with its batch; empty if it is not known.
    """

    model: ModelFile
    folder: Path
    artifacts: Sequence[Artifact]
    batches: Sequence[int]
    seen: Mapping[str, Sequence[int]]

    def place(self, file: Path) -> str:
        """Return a file's path as seen from the folder; of the user's own model the whole path."""
        inside = file.is_relative_to(self.folder)
        return file.relative_to(self.folder).as_posix() if inside else str(file.absolute())

    def shape(self, own: ModelInput, batch: int) -> tuple[int | str, ...]:
        """Return an input's shape at a batch size, other dynamic sizes as calibrated; those not known stay names."""
        seen = self.seen.get(own.name, ())
        known = tuple(seen) if len(seen) == len(own.shape) else own.shape
        sizes = [known[i] if isinstance(size, str) else size for i, size in enumerate(own.shape)]
        if own.batch_axis is not None and isinstance(own.shape[own.batch_axis], str):
            sizes[own.batch_axis] = batch
        return tuple(sizes)


@dataclass(frozen=True)
class Command:
    """Something to run in the target's folder.

    Attributes:
        purpose: What it is for, as a heading.
        lines: The lines.
        note: What to know about it; may be empty.
        language: "sh" or "python".
    """

    purpose: str
    lines: tuple[str, ...]
    note: str = ""
    language: str = "sh"


@dataclass(frozen=True)
class HandOff:
    """What is handed off.

    Attributes:
        title: The runtime, with its version if that decides the commands.
        files: What each file is, by its path as seen from the target's folder.
        commands: The commands, in the order of need.
        notes: Further paragraphs.
        triton: The text of ``config.pbtxt``; empty if Triton does not serve it.
    """

    title: str
    files: Mapping[str, str]
    commands: tuple[Command, ...]
    notes: tuple[str, ...] = ()
    triton: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the hand-off as values for JSON."""
        return {
            "title": self.title,
            "files": dict(self.files),
            "commands": [
                {"purpose": own.purpose, "language": own.language, "lines": list(own.lines), "note": own.note}
                for own in self.commands
            ],
            "notes": list(self.notes),
            "triton": self.triton or None,
        }


def triton_name(model: ModelFile) -> str:
    """Return the model's name in a Triton repository."""
    return re.sub(r"[^\w.-]", "_", model.path.stem)[:80]


def triton_config(model: ModelFile, backend: str, file: str, batches: Sequence[int], kind: str) -> str:
    """Return Triton's configuration of a model.

    https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/model_configuration.html

    Args:
        model: The model.
        backend: The line that names the backend or platform.
        file: The name of the model's file in the repository.
        batches: The batch sizes of the run, the largest of which is the most that Triton may make.
        kind: "KIND_CPU" or "KIND_GPU".
    """
    ports = [*model.inputs, *model.outputs]
    batched = all(own.batch_axis == 0 and isinstance(own.batch, str) for own in ports)
    most = max(batches) if batched else 0
    why = (
        "the largest batch of the run; the model takes any"
        if batched
        else "a request is a whole run of the model: its batch is fixed, or not the first dimension everywhere"
    )
    lines = [
        f"{TRITON_MARK}: {triton_name(model)}/{TRITON_FILE}; the model's file goes to {triton_name(model)}/1/{file}",
        f'name: "{triton_name(model)}"',
        backend,
        f'default_model_filename: "{file}"',
        f"max_batch_size: {most}  # {why}",
        *_ports("input", model.inputs, batched),
        *_ports("output", model.outputs, batched),
        f"instance_group [ {{ kind: {kind} }} ]",
    ]
    return "\n".join([*lines, *(["dynamic_batching { }"] if most > 1 else [])]) + "\n"


def served(model: ModelFile, files: Sequence[tuple[str, str]]) -> Command:
    """Return the command that puts files into a Triton repository.

    Args:
        model: The model.
        files: The files, as seen from the target's folder, and their names in the repository.
    """
    folder = f"repository/{triton_name(model)}"
    copies = [f"cp {quoted(own)} {folder}/1/{name}" for own, name in files]
    return Command("Serve with Triton", (f"mkdir -p {folder}/1", f"cp {TRITON_FILE} {folder}/", *copies))


def quoted(word: str) -> str:
    """Return a word as the shell reads it; a line break in it does not end the line."""
    return shlex.quote(word) if "\n" not in word else "$'" + repr(word)[1:-1].replace("'", "\\'") + "'"


def _ports(kind: str, ports: Sequence[ModelInput], batched: bool) -> list[str]:
    return [f"{kind} [", ",\n".join(f"  {_port(own, batched)}" for own in ports), "]"]


def _port(own: ModelInput, batched: bool) -> str:
    shape = own.sample_shape if batched else own.shape
    dims = [-1 if isinstance(size, str) else size for size in shape]
    name = own.name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    type_ = TRITON_TYPES.get(own.dtype, "TYPE_STRING")
    # A sample that is a single number has no dimension, but Triton wants one.
    reshape = "" if dims else " reshape: { shape: [ ] }"
    return f'{{ name: "{name}" data_type: {type_} dims: [ {", ".join(map(str, dims or [1]))} ]{reshape} }}'
