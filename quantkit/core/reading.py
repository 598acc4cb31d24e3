"""Reads files that users name: only regular ones, and only so much of them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from quantkit.core.errors import BadInput

LARGEST_TEXT = 64 << 20  # bytes of a configuration or a list; the names of a million samples
LARGEST_JSON = 1 << 30  # bytes of a run's JSON file
LARGEST_IMAGE = 1 << 30  # bytes of one image file


def check_regular(path: Path, kind: type[BadInput], what: str) -> None:
    """Raise ``kind`` if there is something at ``path`` that is no regular file, such as a pipe or a device.

    Reading from one could wait for ever, or never end.
    """
    try:
        status = path.stat()
    except (OSError, ValueError):  # missing, which the caller reports; or a NUL in the name
        return
    _check_status(status, path, kind, what)


def read_file(path: Path, limit: int, kind: type[BadInput], what: str) -> bytes:
    """Return the contents of a regular file.

    Args:
        path: The file.
        limit: The most bytes that it may have.
        kind: The error to raise.
        what: What error messages call the file.

    Raises:
        BadInput: Of ``kind``: the file is a pipe or a device, or too large.
        OSError: It is missing or cannot be read.
    """
    check_regular(path, kind, what)
    # Not blocking, because the file may become a pipe in between.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as stream:
        _check_status(os.fstat(stream.fileno()), path, kind, what)
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise kind(f"The {what} {path} is larger than {limit >> 20} MiB.", "Check that it is the right file.")
    return data


def _check_status(status: os.stat_result, path: Path, kind: type[BadInput], what: str) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == Path(os.devnull).stat().st_rdev:
        return  # the null device stands for an empty file
    form = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
    raise kind(f"The {what} {path} is {form}, not a file.", "Give a regular file.")
