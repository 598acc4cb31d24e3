"""The run directory: finding it, claiming it, and recognizing work that can be continued."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from quantkit.core.calibration import CALIBRATION_FILE
from quantkit.core.comparison import COMPARISON_FILE
from quantkit.core.errors import BadRun
from quantkit.core.files import make_folder
from quantkit.core.reading import LARGEST_JSON, read_file
from quantkit.core.run_log import LOG_FILE
from quantkit.core.wording import path_meant
from quantkit.pipeline.manifest import MANIFEST_FILE, Manifest, read_manifest
from quantkit.pipeline.run_layout import current

ARTIFACTS = "artifacts"
ARTIFACT_FILE = "artifact.json"  # in each artifact's folder: its inputs
PART_FILE = "part.json"  # in the folder of a shard, which is not a run
PARTIAL = ".partial"  # the state of an interrupted calibration: histograms, position and manifest
RUNS = Path("runs")


def is_run(folder: Path) -> bool:
    """True if the folder holds a finished calibration."""
    return current(folder, CALIBRATION_FILE).is_file()


def claim(folder: Path, of_part: bool = False) -> None:
    """Create a run directory, or accept an existing one.

    Args:
        folder: The folder.
        of_part: True for the folder of a shard.

    Raises:
        BadRun: The folder holds anything else.
    """
    make_folder(folder)
    if of_part and is_run(folder):
        raise BadRun(f"{folder} holds a finished calibration.", "Give the shard a folder of its own with -o.")
    if not of_part and (folder / PART_FILE).exists():
        raise BadRun(f"{folder} holds a shard of a calibration.", "Give another folder (-o, output=).")
    foreign = [path for path in folder.iterdir() if not path.name.startswith(".") and path.name != LOG_FILE]
    if foreign and not _is_own(folder):
        raise BadRun(
            f"The folder {folder} holds files that are not quantkit's ({foreign[0].name}).",
            "Give a new or empty folder, or an earlier run (-o, output=).",
        )


def _is_own(folder: Path) -> bool:
    """True if quantkit made the folder. A manifest.json alone does not prove it, because other tools write one, too."""
    if (folder / PARTIAL).exists():
        return True
    for name, key in ((MANIFEST_FILE, b'"quantkit"'), (CALIBRATION_FILE, b'"schema_version"')):
        with suppress(OSError, BadRun):
            # The file may be incomplete, or of another version.
            if key in read_file(folder / name, LARGEST_JSON, BadRun, "file"):
                return True
    return False


def find_same_work(wanted: Manifest, folder: Path | None) -> Iterator[Path]:
    """Yield the finished runs with the same counts: ``folder``, then those under ``runs/``, newest first."""
    runs = sorted(RUNS.glob(f"*/{MANIFEST_FILE}"), key=lambda file: -file.stat().st_mtime)
    for run in [*([folder] if folder else []), *(file.parent for file in runs)]:
        manifest = read_manifest(run)
        if manifest is not None and manifest.same_work(wanted) and is_run(run):
            yield run


def choose_folder(wanted: Manifest) -> Path:
    """Return the folder of a run without -o: an unfinished run of the same work, else ``runs/<model>-<UTC time>``."""
    for unfinished in sorted(RUNS.glob(f"*/{PARTIAL}")):
        manifest = read_manifest(unfinished)
        if manifest is not None and manifest.same_work(wanted):
            return unfinished.parent
    name = re.sub(r"[^\w.-]", "_", Path(wanted.model).stem)[:80]
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    folder = RUNS / f"{name}-{stamp}"
    number = 2
    while folder.exists():
        folder = RUNS / f"{name}-{stamp}-{number}"
        number += 1
    return folder


def find_run(folder: Path | None) -> Path:
    """Return ``folder``, or the newest run under ``runs/``. Raises BadRun if it is not a run."""
    if folder is None:
        runs = RUNS.glob(f"*/{CALIBRATION_FILE}")
        newest = max(runs, key=lambda file: file.stat().st_mtime, default=None)
        if newest is None:
            raise BadRun("There is no run under runs/.", "Name one, or make one with quantkit calibrate.")
        return newest.parent
    if not folder.is_dir():
        if folder.suffix == ".onnx":
            raise BadRun(
                f"{folder} is a model, and a run is wanted: the folder that quantkit calibrate makes.",
                f"Calibrate it first, quantkit calibrate {folder} --data DIR -o RUN, or do all at once, quantkit run "
                f"{folder} --data DIR.",
            )
        raise BadRun(
            f"There is no run directory {folder}.", f"{path_meant(folder)}Make one with quantkit calibrate -o."
        )
    if not is_run(folder):
        if (folder / PARTIAL).is_dir():
            raise BadRun(f"The run in {folder} is not calibrated yet.", "Give the quantkit calibrate command again.")
        raise BadRun(f"{folder} is not a run directory.", "Give a folder that quantkit calibrate made.")
    return folder


def find_comparison(run: Path | None) -> Path:
    """Return the folder of a ``comparison.json``.

    ``run`` is a run, any folder with such a file, or the file itself; None means the newest run. Raises BadRun if there
    is no comparison.
    """
    if run is not None and run.name == COMPARISON_FILE and run.is_file():
        return run.parent
    if run is not None and (run / COMPARISON_FILE).is_file():
        return run
    if run is not None and run.name == COMPARISON_FILE:
        raise BadRun(f"There is no file {run}.", "Give a compared run, or its comparison.json.")
    folder = find_run(run)
    if not (folder / COMPARISON_FILE).is_file():
        raise BadRun(f"The run in {folder} is not compared yet.", f"Compare it: quantkit compare {folder} --data DIR.")
    return folder
