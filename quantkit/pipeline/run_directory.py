"""The run directory: which one is meant, what it holds, and whether work in it can go on."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from quantkit.core.calibration import CALIBRATION_FILE
from quantkit.core.comparison import COMPARISON_FILE
from quantkit.core.errors import BadRun
from quantkit.core.files import make_folder
from quantkit.pipeline.manifest import MANIFEST_FILE, Manifest, read_manifest

ARTIFACTS = "artifacts"
ARTIFACT_FILE = "artifact.json"  # in each artifact's folder: what it was made from
PART_FILE = "part.json"  # in the folder of a shard, which is no run
LOCK = ".lock"  # held while a process writes into the folder
PARTIAL = ".partial"  # what an interrupted calibration leaves: histograms, position and manifest
RUNS = Path("runs")


def is_run(folder: Path) -> bool:
    """True if the folder holds a finished calibration."""
    return (folder / CALIBRATION_FILE).is_file()


def claim(folder: Path, of_part: bool = False) -> None:
    """Create a run directory (or that of a shard, ``of_part``), or go on with one.

    Raises BadRun for a folder that holds anything else.
    """
    make_folder(folder)
    if of_part and is_run(folder):
        raise BadRun(f"{folder} holds a finished calibration.", "Give the shard a folder of its own with -o.")
    if not of_part and (folder / PART_FILE).exists():
        raise BadRun(f"{folder} holds a shard of a calibration.", "Give another folder with -o.")
    foreign = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if foreign and not _is_own(folder):
        raise BadRun(
            f"The folder {folder} holds files that are not quantkit's ({foreign[0].name}).",
            "Give a new or empty folder, or an earlier run, with -o.",
        )


def _is_own(folder: Path) -> bool:
    """True if quantkit made the folder; a manifest.json alone does not say so, for others have such files, too."""
    if (folder / PARTIAL).exists():
        return True
    for name, key in ((MANIFEST_FILE, '"quantkit"'), (CALIBRATION_FILE, '"schema_version"')):
        with suppress(OSError, UnicodeDecodeError):
            if key in (folder / name).read_text(encoding="utf-8"):  # it may be cut short, or of another version
                return True
    return False


@contextmanager
def own_folder(folder: Path, of_part: bool = False) -> Iterator[None]:
    """Claims ``folder`` for the work inside; if that fails and leaves nothing in it, the folder goes again.

    Raises BadRun while another process works in it. The lock ends with the process, however that ends.
    """
    claim(folder, of_part)
    lock = folder / LOCK
    try:
        with lock.open("a", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise BadRun(
                    f"Another quantkit is working in {folder}.", "Wait for it, or give another folder with -o."
                ) from error
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
    except BaseException:
        if not any(folder.iterdir()):
            folder.rmdir()
        raise


def find_same_work(wanted: Manifest, folder: Path | None) -> Iterator[Path]:
    """Finished runs that made the same counts: ``folder``, then those under ``runs/``, the newest first."""
    runs = sorted(RUNS.glob(f"*/{MANIFEST_FILE}"), key=lambda file: -file.stat().st_mtime)
    for candidate in [*([folder] if folder else []), *(file.parent for file in runs)]:
        manifest = read_manifest(candidate)
        if manifest is not None and manifest.same_work(wanted) and is_run(candidate):
            yield candidate


def choose_folder(wanted: Manifest) -> Path:
    """Where a run without -o goes: an unfinished run of the same work, else ``runs/<model>-<UTC time>``."""
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
    """The run that is meant: ``folder``, else the newest under ``runs/``. Raises BadRun when it is none."""
    if folder is None:
        runs = RUNS.glob(f"*/{CALIBRATION_FILE}")
        newest = max(runs, key=lambda file: file.stat().st_mtime, default=None)
        if newest is None:
            raise BadRun("There is no run under runs/.", "Name one, or make one with quantkit calibrate.")
        return newest.parent
    if not folder.is_dir():
        raise BadRun(f"There is no run directory {folder}.", "Make one with quantkit calibrate -o.")
    if not is_run(folder):
        if (folder / PARTIAL).is_dir():
            raise BadRun(f"The run in {folder} is not calibrated yet.", "Give the quantkit calibrate command again.")
        raise BadRun(f"{folder} is not a run directory.", "Give a folder that quantkit calibrate made.")
    return folder


def find_comparison(run: Path | None) -> Path:
    """The folder of the ``comparison.json`` that is meant: a run, any folder with one, or the file itself.

    None is the newest run. Raises BadRun where nothing is compared.
    """
    if run is not None and run.name == COMPARISON_FILE and run.is_file():
        return run.parent
    if run is not None and (run / COMPARISON_FILE).is_file():
        return run
    folder = find_run(run)
    if not (folder / COMPARISON_FILE).is_file():
        raise BadRun(f"The run in {folder} is not compared yet.", "Run quantkit compare on it.")
    return folder
