"""Writes what whoever deploys a run's files needs: ``COMMANDS.md``, the same as JSON, and Triton's configuration.

They lie in ``artifacts/<target>/``, beside the folders of its precisions, and follow from what lies in these: no digest
of an artifact holds them.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from quantkit.core.errors import BadConfig
from quantkit.core.files import write_text
from quantkit.core.overwriting import check_overwrite
from quantkit.core.recipe import Recipe
from quantkit.graph.model_file import open_model
from quantkit.pipeline.artifact_files import folders_in
from quantkit.pipeline.artifact_record import read_artifact
from quantkit.targets import Target
from quantkit.targets.handoff import TRITON_FILE, TRITON_MARK, HandOff, HandOffRequest

COMMANDS_FILE = "COMMANDS.md"
JSON_FILE = "commands.json"
MARKS = {COMMANDS_FILE: "<!-- quantkit -->", JSON_FILE: '"written_by": "quantkit"', TRITON_FILE: TRITON_MARK}
log = logging.getLogger("quantkit")


def hand_off(recipe: Recipe, targets: Sequence[Target], output: Path, batches: Sequence[int]) -> None:
    """Write the commands of each target that has artifacts.

    Args:
        recipe: What the artifacts were made from.
        targets: The targets.
        output: The folder of the artifacts.
        batches: The batch sizes of the run.
    """
    origin = recipe.calibration.model
    model = open_model(Path(origin.path), origin.batch_axis)
    sample = recipe.calibration.sample or {}
    seen = {name: tuple(array.shape) for name, array in sample.items()}
    for target in targets:
        folder = output / target.name
        artifacts = [own for path in folders_in(folder) if (own := read_artifact(path)) is not None]
        if not artifacts:
            continue
        made = target.hand_off(HandOffRequest(model, folder, artifacts, batches, seen))
        if made is not None:
            _write(made, target.name, folder)


def forget_commands(folder: Path) -> None:
    """Remove the files of a hand-off from a target's folder, because its artifacts are no longer there."""
    for name, mark in MARKS.items():
        with suppress(BadConfig, OSError):
            check_overwrite(folder / name, mark.encode())
            (folder / name).unlink(missing_ok=True)


def _write(made: HandOff, target: str, folder: Path) -> None:
    document = {"written_by": "quantkit", "target": target, **made.to_dict()}
    texts = {
        COMMANDS_FILE: markdown(made),
        JSON_FILE: json.dumps(document, indent=1) + "\n",
        TRITON_FILE: made.triton,
    }
    for name, text in texts.items():
        try:
            check_overwrite(folder / name, MARKS[name].encode())
        except BadConfig as refusal:
            log.warning("%s It stays as it is.", refusal.what)
            continue
        if text:
            write_text(folder / name, text)


def markdown(made: HandOff) -> str:
    """Return a hand-off as Markdown."""
    parts = [
        f"{MARKS[COMMANDS_FILE]}\n# {made.title}: what the files are, and what to run\n\n"
        "Run these lines in this folder. On another machine, copy what they name outside it, and change the path.\n\n"
        "| file | what it is |\n| --- | --- |"
    ]
    parts[0] += "".join(f"\n| {_code(name)} | {meaning} |" for name, meaning in made.files.items())
    for command in made.commands:
        body = "\n".join(command.lines)
        fence = "`" * max(3, 1 + max((len(run) for run in _ticks(body)), default=0))
        text = f"## {command.purpose}\n\n{fence}{command.language}\n{body}\n{fence}"
        parts.append(f"{text}\n\n{command.note}" if command.note else text)
    parts += made.notes
    if made.triton:
        parts.append(f"Triton's configuration is `{TRITON_FILE}`.")
    return "\n\n".join(parts) + "\n"


def _code(name: str) -> str:
    ticks = "`" * (1 + max((len(run) for run in _ticks(name)), default=0))
    return f"{ticks}{name}{ticks}".replace("|", "\\|").replace("\n", " ")


def _ticks(text: str) -> list[str]:
    return re.findall("`+", text)
