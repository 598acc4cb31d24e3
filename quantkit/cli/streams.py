"""Standard output and error that never fail: what cannot be written is dropped, and remembered."""

from __future__ import annotations

import io
import os
import select
import sys
from typing import TextIO, cast

ESCAPED = "backslashreplace"  # characters that the encoding lacks, and file names that are no text
STDOUT, STDERR = 1, 2


class Descriptor(io.RawIOBase):
    """Writes to a file descriptor until that fails.

    Attributes:
        error: The first failure; None if everything was written.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.error: OSError | None = None

    def writable(self) -> bool:
        """True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.number

    def isatty(self) -> bool:
        """True if the descriptor is a terminal."""
        return os.isatty(self.number)

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write some of ``data``, or drop it after a failure; return how many bytes that concerned."""
        while self.error is None:
            try:
                return os.write(self.number, data)
            except BlockingIOError:  # a pipe that its other end made non-blocking
                select.select([], [self.number], [])
            except OSError as error:
                self.error = error
        return len(data)


def take_over() -> Descriptor:
    """Replace ``sys.stdout`` and ``sys.stderr``, which may be closed, and return what stdout writes to."""
    closed = {number: _opened(number) for number in (0, STDOUT, STDERR)}
    out, err = (Descriptor(number) for number in (STDOUT, STDERR))
    out.error = closed[STDOUT]
    sys.stdout = _text(out, sys.stdout)
    sys.stderr = _text(err, sys.stderr)
    return out


def _opened(number: int) -> OSError | None:
    """Open the null device for a closed descriptor, which the next file would get otherwise; return the failure."""
    try:
        os.fstat(number)
    except OSError as error:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)
        return error
    return None


def _text(raw: Descriptor, before: TextIO | None) -> TextIO:
    encoding = getattr(before, "encoding", None) or "utf-8"
    stream = io.TextIOWrapper(
        io.BufferedWriter(cast("io.RawIOBase", raw)),
        encoding=encoding,
        errors=ESCAPED,
        line_buffering=raw.number == STDERR or raw.isatty(),
    )
    return cast("TextIO", stream)
