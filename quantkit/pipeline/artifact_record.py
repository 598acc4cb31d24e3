"""Reads the record that lies beside the files of an artifact."""

from __future__ import annotations

import json
from pathlib import Path

from quantkit.core.artifact import Artifact
from quantkit.core.errors import BadRun
from quantkit.core.layers import Layers
from quantkit.core.reading import LARGEST_TEXT, read_file
from quantkit.pipeline.artifact_files import folders_in, recorded_files
from quantkit.pipeline.run_directory import ARTIFACT_FILE


def read_artifact(folder: Path, fingerprint: str | None = None) -> Artifact | None:
    """Read the artifact in a folder.

    Args:
        folder: The artifact's folder.
        fingerprint: The digest that the record must have; None accepts any.

    Returns:
        The artifact; None if there is no whole one, or if the record is of other work.
    """
    try:
        record = json.loads(read_file(folder / ARTIFACT_FILE, LARGEST_TEXT, BadRun, "record"))
        if recorded_files(folder) is None or fingerprint not in (None, record["fingerprint"]):
            return None
        files = tuple(folder / name for name in record["files"])
        notes = tuple(record["notes"])
        layers = None if record["layers"] is None else Layers.from_dict(record["layers"])
        artifact = Artifact(record["target"], record["precision"], files, notes, record["variant"], layers)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BadRun):
        return None
    return artifact if files and all(file.is_file() for file in files) else None


def read_artifacts(folder: Path) -> list[Artifact]:
    """Read all artifacts that quantkit recorded under ``folder/<target>/<precision>/``, in alphabetical order."""
    found = [read_artifact(own) for target in folders_in(folder) for own in folders_in(target)]
    return [artifact for artifact in found if artifact is not None]
