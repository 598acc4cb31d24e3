"""What belongs to a method that is not the run's own: ``methods/<method>/`` holds its results and INT8 artifacts.

A run that is solved by another method moves there what was measured and made by the former one. Every file is moved by
itself, and moving again goes on where a killed command stopped.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from quantkit.core.comparison import COMPARISON_FILE
from quantkit.core.errors import BadRun
from quantkit.core.files import make_folder
from quantkit.core.tuning import TUNE_FILE
from quantkit.pipeline.artifact_files import (
    ENGINE_FILES,
    ENGINE_RECORD,
    folders_in,
    is_file_in,
    move_artifact,
    remove_artifact,
    same_record,
)
from quantkit.pipeline.handoff import forget_commands
from quantkit.pipeline.run_directory import ARTIFACT_FILE, ARTIFACTS

METHODS = "methods"
# The comparison last: as long as it lies in the run, the others belong to it.
RESULTS = ("predictions.npz", TUNE_FILE, "gate.json", "report.html", "summary.md", "junit.xml", COMPARISON_FILE)
log = logging.getLogger("quantkit")


def method_folder(run: Path, method: str) -> Path:
    """Return the folder of a method in a run directory, also for a name that is no file name."""
    return run / METHODS / re.sub(r"[^\w-]", "_", method)


def is_compared(folder: Path) -> bool:
    """True if what was measured lies in a run directory or in the folder of a method."""
    return (folder / COMPARISON_FILE).is_file()


def make_room(run: Path, method: str) -> None:
    """Remove earlier results from a method's folder, if the run has new ones that are to be moved there.

    Raises:
        BadRun: The folder is a link, which is not followed.
    """
    destination = method_folder(run, method)
    _refuse_links(run, destination)
    if is_compared(run):
        if is_compared(destination):
            log.info("Earlier results in %s give way to the newer ones.", destination)
        for name in RESULTS:
            (destination / name).unlink(missing_ok=True)


def keep_results(run: Path, method: str, precisions: Sequence[str]) -> None:
    """Move results, and artifacts and engines of ``precisions``, to the folder of a method.

    Raises:
        BadRun: The folder is a link, which is not followed.
    """
    destination = method_folder(run, method)
    _refuse_links(run, destination)
    measured = is_compared(run)
    for name in RESULTS:
        if measured and (run / name).is_file():
            (run / name).replace(make_folder(destination) / name)
        else:  # a report of the ranges alone
            (run / name).unlink(missing_ok=True)
    for target in folders_in(run / ARTIFACTS):
        forget_commands(target)
        own = destination / ARTIFACTS / target.name
        for artifact in _of(precisions, target, ARTIFACT_FILE):
            if not same_record(own / artifact.name, artifact):  # else an interrupted move of it is gone on with
                remove_artifact(own / artifact.name)
            move_artifact(artifact, make_folder(own / artifact.name))
        for engine in _of(precisions, target / "engines", ENGINE_RECORD):
            for name in (name for name in ENGINE_FILES if is_file_in(engine, name)):
                (engine / name).replace(make_folder(own / "engines" / engine.name) / name)
            with suppress(OSError):
                engine.rmdir()
    if measured:
        log.info("What was measured by %s is kept in %s.", method, destination)


def take_back(run: Path, method: str) -> None:
    """Move artifacts and engines from the folder of a method, which is the run's own now, to those of the run.

    Only whole folders are moved, to where there is none yet.

    Raises:
        BadRun: The folder is a link, which is not followed.
    """
    _refuse_links(run, method_folder(run, method))
    source = method_folder(run, method) / ARTIFACTS
    for target in folders_in(source):
        for folder in (target, target / "engines"):
            for own in folders_in(folder):
                there = run / ARTIFACTS / own.relative_to(source)
                if own.name != "engines" and not there.exists() and not there.is_symlink():
                    make_folder(there.parent)
                    own.replace(there)
    _remove_empty(method_folder(run, method))


def forget_results(folder: Path, precisions: Sequence[str]) -> None:
    """Remove results, and artifacts and engines of ``precisions``, from a run directory or the folder of a method.

    Only files that quantkit recorded are removed, and no link is followed.
    """
    for name in RESULTS:
        (folder / name).unlink(missing_ok=True)
    for target in folders_in(folder / ARTIFACTS):
        forget_commands(target)
        for artifact in _of(precisions, target, ARTIFACT_FILE):
            remove_artifact(artifact)
        for engine in _of(precisions, target / "engines", ENGINE_RECORD):
            for name in (name for name in ENGINE_FILES if is_file_in(engine, name)):
                (engine / name).unlink()
            with suppress(OSError):
                engine.rmdir()


def forget_methods(run: Path, precisions: Sequence[str]) -> None:
    """Remove the results and artifacts of all methods but the run's own."""
    for folder in folders_in(run / METHODS):
        forget_results(folder, precisions)
        _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    """Remove the folder of a method if no file is left in it."""
    if folder.is_dir() and not any(path.is_file() or path.is_symlink() for path in folder.rglob("*")):
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.parent.rmdir()


def _of(precisions: Sequence[str], folder: Path, record: str) -> list[Path]:
    """Return the subfolders for these precisions that quantkit wrote."""
    return [
        path for path in folders_in(folder) if path.name.startswith(tuple(precisions)) and (path / record).is_file()
    ]


def _refuse_links(run: Path, destination: Path) -> None:
    for path in (run / METHODS, destination, destination / ARTIFACTS):
        if path.is_symlink():
            raise BadRun(f"{path} is a link, which is not followed.", "Remove it, or move its folder there.")
