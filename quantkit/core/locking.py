"""One writer at a time in a folder, on every file system."""

from __future__ import annotations

import logging
import os
import stat
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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
        if os.name != "nt":  # where an open file stays, and the library removes it
            Path(lock.lock_file).unlink(missing_ok=True)  # before the release, so that it is nobody else's
        lock.release()


def _acquired(folder: Path, wait: float) -> BaseFileLock:
    path = Path(os.path.abspath(folder)) / LOCK  # noqa: PTH100 - Path.resolve() would follow links
    _check_lock_file(path)
    lock = FileLock(path, timeout=0, fallback_to_soft=False)  # it would be replaced without a word
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
            raise BadRun(
                f"Another quantkit is working in {folder}.",
                f"Wait for it, or remove {lock.lock_file} if there is none."
                if isinstance(lock, SoftFileLock)
                else "Wait for it, or give another folder (-o, output=).",
            ) from error
        except PermissionError as error:
            raise BadRun(
                f"The folder {folder} cannot be written ({error.strerror}).", "Give another folder (-o, output=)."
            ) from error
        except (OSError, NotImplementedError) as error:
            if isinstance(lock, SoftFileLock):
                raise BadRun(
                    f"The folder {folder} cannot be locked ({error}).", "Give another (-o, output=)."
                ) from error
            return getattr(error, "strerror", None) or str(error)


def _check_lock_file(path: Path) -> None:
    """Raise BadRun for a lock file that is none, such as a pipe, which would be waited for without end."""
    try:
        kind = path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(kind):
        raise BadRun(f"{path} is not a regular file.", "Remove it; quantkit makes it itself.")
