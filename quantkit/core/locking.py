"""One writer at a time in a folder, on every file system."""

from __future__ import annotations

import logging
import os
import stat
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from quantkit.core.errors import BadRun

LOCK = ".lock"  # in the folder, while a process writes there
SOFT_LOCK = ".soft-lock"  # the same on a file system without locks; a killed process leaves it behind
PATIENCE = 0.05  # seconds between two attempts
log = logging.getLogger("quantkit")


@contextmanager
def locked(folder: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock of an existing folder inside the ``with`` block. It ends with the process, however that ends.

    Args:
        folder: The folder.
        wait: How many seconds to wait for another process.

    Raises:
        BadRun: Another process holds the lock, or the folder cannot be locked.
    """
    lock = _acquired(folder, wait)
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # before the release, so that it is nobody else's
        lock.release()


def _acquired(folder: Path, wait: float) -> BaseFileLock:
    path = Path(os.path.abspath(folder)) / LOCK  # noqa: PTH100 - Path.resolve() would follow links
    _check_lock_file(path)
    lock = _native(path)
    failure = _attempt(lock, folder, wait)
    if failure is None:
        return lock
    log.warning(
        "The file system of %s has no locks (%s): a file stands for one, which a killed quantkit leaves behind.",
        folder,
        failure,
    )
    path.unlink(missing_ok=True)
    path = path.with_name(SOFT_LOCK)
    _check_lock_file(path)
    soft = SoftFileLock(path, timeout=0)
    _attempt(soft, folder, wait)
    return soft


def _native(path: Path) -> BaseFileLock:
    """Return the operating system's lock, which newer releases of the library would silently replace."""
    if "fallback_to_soft" in signature(FileLock).parameters:
        return FileLock(path, timeout=0, fallback_to_soft=False)
    return FileLock(path, timeout=0)


def _attempt(lock: BaseFileLock, folder: Path, wait: float) -> str | None:
    """Acquire the lock; return why the file system has none. Raises BadRun if another process holds it."""
    deadline = time.monotonic() + wait
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the library's own word on file systems without locks
                lock.acquire()
            return None
        except Timeout as error:
            if time.monotonic() < deadline:
                time.sleep(PATIENCE)
                continue
            soft = isinstance(lock, SoftFileLock)
            if not soft and (failure := _why_no_locks(Path(lock.lock_file))):  # older releases wait for these, too
                return failure
            raise BadRun(
                f"Another quantkit is working in {folder}.",
                f"Wait for it, or remove {lock.lock_file} if there is none."
                if soft
                else "Wait for it, or give another folder with -o.",
            ) from error
        except PermissionError as error:
            raise BadRun(
                f"The folder {folder} cannot be written ({error.strerror}).", "Give another folder with -o."
            ) from error
        except (OSError, NotImplementedError) as error:
            if isinstance(lock, SoftFileLock):
                raise BadRun(f"The folder {folder} cannot be locked ({error}).", "Give another with -o.") from error
            return getattr(error, "strerror", None) or str(error)


def _why_no_locks(path: Path) -> str | None:
    """Return why the file system of a lock file has no locks; None if it has."""
    try:
        import fcntl
    except ImportError:  # on Windows
        return None
    try:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError as error:
        return error.strerror
    return None


def _check_lock_file(path: Path) -> None:
    """Raise BadRun for a lock file that is none, such as a pipe, which would be waited for without end."""
    try:
        kind = path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(kind):
        raise BadRun(f"{path} is not a regular file.", "Remove it; quantkit makes it itself.")
