"""Replaces the calibration of a run as a whole: the old one stays until the new one is complete.

New files are written to a folder beside the old ones, which is then renamed to ``.next``. From that moment on the new
calibration is valid: whoever writes into the run next completes the replacement, if it was interrupted.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from quantkit.core.artifact import PRECISIONS
from quantkit.core.errors import BadConfig, BadRun
from quantkit.core.files import TEMPORARY, atomic_folder, remove_folder, sha256_of, sync_folder, write_text, writing_to
from quantkit.core.reading import LARGEST_TEXT, read_file
from quantkit.pipeline.manifest import MANIFEST_FILE
from quantkit.pipeline.run_directory import ARTIFACT_FILE, ARTIFACTS, PARTIAL
from quantkit.pipeline.run_layout import NEXT

OUTDATED_FILE = "outdated.json"  # in NEXT: which artifacts are of the old calibration, and which files go
RESULTS = ("comparison.json", "predictions.npz", "gate.json", "report.html", "summary.md", "junit.xml")
ENGINE_FILES = ("model.engine", "engine.json")
log = logging.getLogger("quantkit")


@contextmanager
def replacing(folder: Path, outdated: Sequence[str], without_manifest: bool = False) -> Iterator[Path]:
    """Yield a folder for new files of the run in ``folder``, which must be locked; then put them in place.

    Args:
        folder: The run directory.
        outdated: The precisions whose artifacts are outdated with the old files; results always are.
        without_manifest: The new calibration has no manifest, and that of the old one goes.

    Raises:
        BadInput: The disk is full. The run is unchanged then, as after any failure in the block.
    """
    with writing_to(folder / NEXT):
        staging = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=folder))
        try:
            yield staging
            note = {"precisions": list(outdated), "without_manifest": without_manifest}
            write_text(staging / OUTDATED_FILE, json.dumps(note))
            sync_folder(staging)
            staging.replace(folder / NEXT)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    complete_replacement(folder)


def complete_replacement(folder: Path) -> None:
    """Put the files of ``.next`` in place, if there is one, and remove what belongs to the old calibration.

    Raises:
        BadRun: quantkit did not write ``.next``.
    """
    new = folder / NEXT
    if not new.exists():
        return
    try:
        if new.is_symlink():
            raise ValueError("it is a link")
        note = json.loads((new / OUTDATED_FILE).read_text(encoding="utf-8"))
        outdated = [precision for precision in PRECISIONS if precision in note["precisions"]]
        without_manifest = note["without_manifest"] is True
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRun(f"{new} is damaged ({error}).", "Remove it; the former calibration is there.") from error
    forget_results(folder, outdated)
    if without_manifest:
        (folder / MANIFEST_FILE).unlink(missing_ok=True)
    for file in sorted(new.iterdir()):
        if file.name != OUTDATED_FILE:
            file.replace(folder / file.name)
    remove_folder(folder / PARTIAL)
    shutil.rmtree(new)


def forget_results(folder: Path, precisions: Sequence[str]) -> None:
    """Remove results, artifacts of ``precisions`` and engines that depend on ranges that are replaced.

    Only files that quantkit recorded are removed, and no link is followed.
    """
    for name in RESULTS:
        (folder / name).unlink(missing_ok=True)
    for target in folders_in(folder / ARTIFACTS):
        for artifact in folders_in(target):
            if artifact.name.startswith(tuple(precisions)) and (artifact / ARTIFACT_FILE).is_file():
                _remove_artifact(artifact)
        for engine in folders_in(target / "engines"):
            if engine.name.startswith(tuple(precisions)) and (engine / "engine.json").is_file():
                for name in ENGINE_FILES:
                    if _is_file_in(engine, name):
                        (engine / name).unlink()
                with suppress(OSError):
                    engine.rmdir()


@contextmanager
def new_artifact(folder: Path) -> Iterator[Path]:
    """Yield a folder for the files of an artifact, with their record; then put them in place of the recorded ones.

    Files of the user's beside them stay.

    Raises:
        BadConfig: Such a file has a name that the artifact needs, or there is no record of what is quantkit's.
    """
    own = recorded_files(folder)
    foreign = _foreign(folder, own or {})
    if foreign and own is None:
        raise BadConfig(
            f"{folder} holds a file that quantkit did not write ({foreign[0]}).", "Move it, or give another -o."
        )
    if not foreign:
        with atomic_folder(folder) as temporary:
            yield temporary
        return
    with writing_to(folder):
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=folder.parent))
        try:
            yield temporary
            sync_folder(temporary)
            made = sorted(path.name for path in temporary.iterdir() if path.name != ARTIFACT_FILE)
            if taken := [name for name in made if name in foreign]:
                raise BadConfig(
                    f"{folder} holds a file that quantkit did not write ({taken[0]}).", "Move it, or give another -o."
                )
            _remove_artifact(folder)
            for name in (*made, ARTIFACT_FILE):  # the record last, so that it never describes missing files
                (temporary / name).replace(folder / name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _foreign(folder: Path, own: Collection[str]) -> list[str]:
    """Return the names in an artifact's folder that are not recorded."""
    if not folder.is_dir():
        return []
    known = {PurePosixPath(name).parts[0] for name in own} | {ARTIFACT_FILE}
    return sorted(path.name for path in folder.iterdir() if path.name not in known)


def recorded_files(folder: Path) -> dict[str, str] | None:
    """Return the hex SHA-256 of the files that quantkit recorded for an artifact, by name; None without a record."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        record = json.loads(read_file(folder / ARTIFACT_FILE, LARGEST_TEXT, BadRun, "record"))
        digests = {str(name): str(record["sha256"][name]) for name in record["files"]}
        if all(_is_inside(name) for name in digests):
            return digests
    return None


def _remove_artifact(folder: Path) -> None:
    for name, digest in (recorded_files(folder) or {}).items():
        if _is_file_in(folder, name) and sha256_of(folder / name) == digest:
            (folder / name).unlink()
    if any(path.name != ARTIFACT_FILE for path in folder.iterdir()):  # the user's; the record says that no file is ours
        write_text(folder / ARTIFACT_FILE, json.dumps({"files": [], "sha256": {}, "fingerprint": ""}) + "\n")
        log.warning("%s holds files that quantkit did not write; they stay.", folder)
        return
    (folder / ARTIFACT_FILE).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _is_file_in(folder: Path, name: str) -> bool:
    """True if ``name`` is a file below ``folder`` that no link leads to."""
    parts = PurePosixPath(name).parts
    way = [folder.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    return not any(path.is_symlink() for path in way) and way[-1].is_file()


def folders_in(folder: Path) -> list[Path]:
    """Return the subfolders, without links; none if ``folder`` is missing or a link itself."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.is_symlink()]


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name
