"""The files of an artifact in its folder: written as a whole, moved and removed, but never those of the user's."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from quantkit.core.errors import BadConfig, BadRun
from quantkit.core.files import TEMPORARY, atomic_folder, make_folder, sha256_of, sync_folder, write_text, writing_to
from quantkit.core.reading import LARGEST_TEXT, read_file
from quantkit.pipeline.run_directory import ARTIFACT_FILE

FURTHER = "further"  # in the record: files made from the artifact, with their digests
ENGINE_RECORD = "engine.json"
ENGINE_FILES = ("model.engine", ENGINE_RECORD)  # the record last, so that it never describes a missing file
log = logging.getLogger("quantkit")


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
            f"{folder} holds a file that quantkit did not write ({foreign[0]}).",
            "Move it, or give another folder (-o, output=).",
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
                    f"{folder} holds a file that quantkit did not write ({taken[0]}).",
                    "Move it, or give another folder (-o, output=).",
                )
            remove_artifact(folder)
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


@contextmanager
def further_files(folder: Path) -> Iterator[Path]:
    """Yield a folder for files that are made from an artifact; then put them beside its own, and into its record.

    They are moved and removed with the artifact, so that none outlives what it was made from.

    Raises:
        BadConfig: A file of the user's has one of their names.
        BadRun: The artifact has no record.
    """
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=folder.parent))
    try:
        yield temporary
        own = recorded_files(folder)
        if own is None:
            raise BadRun(f"{folder} has no {ARTIFACT_FILE} that can be read.", "Export again.")
        made = {path.name: sha256_of(path) for path in sorted(temporary.iterdir())}
        if taken := [name for name in made if (folder / name).exists() and name not in own]:
            raise BadConfig(
                f"{folder} holds a file that quantkit did not write ({taken[0]}).",
                "Move it, or give another folder (-o, output=).",
            )
        record = json.loads(read_file(folder / ARTIFACT_FILE, LARGEST_TEXT, BadRun, "record"))
        record[FURTHER] = {**record.get(FURTHER, {}), **made}
        write_text(folder / ARTIFACT_FILE, json.dumps(record, indent=1) + "\n")  # first: no file is without a record
        for name in made:
            (temporary / name).replace(folder / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def recorded_files(folder: Path) -> dict[str, str] | None:
    """Return the hex SHA-256 of the files that quantkit recorded for an artifact, by name; None without a record."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        record = json.loads(read_file(folder / ARTIFACT_FILE, LARGEST_TEXT, BadRun, "record"))
        digests = {str(name): str(record["sha256"][name]) for name in record["files"]}
        digests |= {str(name): str(digest) for name, digest in record.get(FURTHER, {}).items()}
        if all(_is_inside(name) for name in digests):
            return digests
    return None


def move_artifact(folder: Path, destination: Path) -> None:
    """Move the recorded files of an artifact, which are as they were written, to another folder, with their record.

    Files of the user's beside them stay, and so do all if the record is damaged: nothing tells whose they are. Done
    again, it goes on where it was interrupted.
    """
    recorded = recorded_files(folder)
    if recorded is None:
        remove_artifact(folder)
        with suppress(OSError):
            destination.rmdir()
        return
    for name, digest in recorded.items():
        if is_file_in(folder, name) and sha256_of(folder / name) == digest:
            make_folder((destination / name).parent)
            (folder / name).replace(destination / name)
    write_text(destination / ARTIFACT_FILE, read_file(folder / ARTIFACT_FILE, LARGEST_TEXT, BadRun, "record").decode())
    remove_artifact(folder)


def same_record(folder: Path, other: Path) -> bool:
    """True if both folders have the same record of an artifact."""
    return (folder / ARTIFACT_FILE).is_file() and sha256_of(folder / ARTIFACT_FILE) == sha256_of(other / ARTIFACT_FILE)


def remove_artifact(folder: Path) -> None:
    """Remove the recorded files of an artifact that are as they were written, and the record; nothing without one.

    Files of the user's beside them stay, with a record that says that none of the files is quantkit's.
    """
    if not (folder / ARTIFACT_FILE).is_file():
        return
    for name, digest in (recorded_files(folder) or {}).items():
        if is_file_in(folder, name) and sha256_of(folder / name) == digest:
            (folder / name).unlink()
    if any(path.name != ARTIFACT_FILE for path in folder.iterdir()):  # the user's; the record says that no file is ours
        write_text(folder / ARTIFACT_FILE, json.dumps({"files": [], "sha256": {}, "fingerprint": ""}) + "\n")
        log.warning("%s holds files that quantkit did not write; they stay.", folder)
        return
    (folder / ARTIFACT_FILE).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def is_file_in(folder: Path, name: str) -> bool:
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
