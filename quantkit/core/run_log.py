"""The log of a run: what the command said while it worked on the folder, with the time."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

from quantkit.core.escape import one_line
from quantkit.version import __version__

LOG_FILE = "quantkit.log"
LARGEST = 1 << 20  # bytes; a larger one is begun anew
MOST_BUFFERED = 1000  # records from before the folder is known


class RunLog(logging.Handler):
    """Keeps what is said until the run's folder is known, then writes it there; a folder that refuses has no log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
        self.folder: Path | None = None
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep or write a record."""
        self._lines.append(one_line(self.format(record)))
        del self._lines[:-MOST_BUFFERED]
        self._write()

    def open(self, folder: Path) -> None:
        """Write to this folder from now on, and what was kept."""
        if self.folder != folder:
            command = " ".join(["quantkit", *sys.argv[1:]])
            own = logging.LogRecord("quantkit", logging.INFO, "", 0, f"{command} ({__version__})", None, None)
            self._lines.insert(0, one_line(self.format(own)))
            self.folder = folder
        self._write()

    def _write(self) -> None:
        if self.folder is None or not self._lines:
            return
        path = self.folder / LOG_FILE
        with suppress(OSError):  # a full disk or a folder that is gone must not end the work
            fresh = path.is_file() and path.stat().st_size > LARGEST
            flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | (os.O_TRUNC if fresh else os.O_APPEND)
            with os.fdopen(os.open(path, flags, 0o666), "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write("".join(f"{line}\n" for line in self._lines))
        self._lines.clear()


def log_into(folder: Path) -> None:
    """Send what the command says to the log of this run, if the command keeps one."""
    for handler in logging.getLogger("quantkit").handlers:
        if isinstance(handler, RunLog):
            handler.open(folder)


def remove_log_alone(folder: Path) -> None:
    """Remove the log of a folder that holds nothing else."""
    if [path.name for path in folder.iterdir()] == [LOG_FILE]:
        for handler in logging.getLogger("quantkit").handlers:
            if isinstance(handler, RunLog):
                handler.folder = None
        (folder / LOG_FILE).unlink()
