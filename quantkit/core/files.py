"""Atomic writing and hashing: a file or folder appears complete or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadInput

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
TEMPORARY = ".quantkit-tmp."  # how files and folders begin that are not complete yet
SMALLEST_USEFUL_SPACE = 1 << 16  # bytes; with less free space, a vendor's vague write error is reported as a full disk


def normalized(path: Path) -> Path:
    """Return the absolute path without ``..``. Links are kept, so that users recognise the path that they gave.

    Raises BadInput for a name that is not UTF-8, because a run's JSON files could not hold it.
    """
    _check_name(path)
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve() would follow links


def sha256_of(path: Path, *more: Path) -> str:
    """Return the hex SHA-256 over the bytes of ``path`` and then of ``more``, in that order."""
    digest = hashlib.sha256()
    for part in (path, *more):
        with part.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


Stamp = tuple[int, ...]
"""What changes with a file: device, inode, size, and the times of the last modification and change of status."""


def stamps_of(*paths: Path) -> tuple[Stamp, ...]:
    """Return the stamp of each file; an empty one for a file that cannot be looked at."""
    return tuple(map(_stamp, paths))


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def digest_of(value: Any) -> str:
    """Return the hex SHA-256 of a value that can be written as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def make_folder(path: Path) -> Path:
    """Create ``path`` and its parents, and return it. Raises BadInput if it cannot be written."""
    _check_name(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise BadInput(
            f"The output folder {path} cannot be written ({error.strerror}).", "Give another folder (-o, output=)."
        ) from error
    return path


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to ``path`` on success, remove it on failure.

    If ``path`` is a pipe or a device, it is yielded itself.
    """
    _check_name(path)
    with writing_to(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            yield path  # a pipe or a device is written to, not replaced
            return
        path = path.resolve()  # write to the target of a link instead of replacing the link
        make_folder(path.parent)
        handle, name = tempfile.mkstemp(prefix=f"{TEMPORARY}{path.name[:80]}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _sync(temporary)
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling folder; it replaces ``path`` on success and is removed on failure.

    A power cut between the two renames leaves the old folder under another name; :func:`recover_folder` restores it.
    """
    with writing_to(path):
        make_folder(path.parent)
        temporary = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{path.name[:80]}.", dir=path.parent))
        try:
            yield temporary
            sync_folder(temporary)
            temporary.chmod(0o777 & ~_umask())
            aside = _aside(path)
            shutil.rmtree(aside, ignore_errors=True)
            if path.exists():
                path.replace(aside)
            temporary.replace(path)
            shutil.rmtree(aside, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make sure that the contents of all files in a folder are on the disk."""
    for file in folder.rglob("*"):
        if file.is_file():
            _sync(file)


def remove_temporaries(folder: Path) -> None:
    """Remove what writers that were killed left below ``folder``. Nobody else may be writing there.

    No link is followed.
    """
    for parent, folders, files in os.walk(folder):
        for name in [name for name in folders if name.startswith(TEMPORARY)]:
            folders.remove(name)
            if Path(parent, name).is_symlink():
                files.append(name)
            else:
                shutil.rmtree(Path(parent, name), ignore_errors=True)
        for name in files:
            if name.startswith(TEMPORARY):
                Path(parent, name).unlink(missing_ok=True)


def recover_folder(path: Path) -> None:
    """Restore a folder whose replacement by :func:`atomic_folder` was interrupted."""
    if not path.exists() and _aside(path).is_dir():
        _aside(path).replace(path)


def remove_folder(path: Path) -> None:
    """Remove a folder, and the remains of an interrupted replacement."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(_aside(path), ignore_errors=True)


def _check_name(path: Path) -> None:
    """Raise BadInput for a name that is not UTF-8, which the JSON files and the report of a run could not hold."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"The path {str(path)!r} is not UTF-8.", "Rename it, or link to it by another name.") from error


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.replaced")


def write_npz(path: Path, arrays: Mapping[str, npt.NDArray[Any]], compressed: bool = True) -> None:
    """Write an npz file atomically, with fast compression: NumPy's takes three times as long to save another tenth."""
    with atomic_file(path) as temporary:
        method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
        with zipfile.ZipFile(temporary, "w", method, compresslevel=1 if compressed else None) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Raise BadInput, which names ``path``, if the block fails for a full disk or a lack of permission."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        if _disk_is_full(path, error):
            raise BadInput(
                f"The disk that holds {path.parent} is full; {path.name} was not written.",
                "Free some space, or give another folder (-o, output=).",
            ) from error
        if isinstance(error, PermissionError):
            raise BadInput(
                f"{path} cannot be written (permission denied).", "Give another folder (-o, output=)."
            ) from error
        raise


def _disk_is_full(path: Path, error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return True
    folder = next((parent for parent in path.parents if parent.is_dir()), None)
    return folder is not None and shutil.disk_usage(folder).free < SMALLEST_USEFUL_SPACE


def _sync(path: Path) -> None:
    with path.open("r+b" if os.name == "nt" else "rb") as stream:  # Windows flushes only what could be written
        os.fsync(stream.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
