"""Runs a command on a terminal of its own, as a person does."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Sequence
from pathlib import Path


def on_a_terminal(words: Sequence[str], folder: Path, columns: int = 80) -> tuple[int, str]:
    """Return the exit code of a command, and all that it writes to a terminal of that width."""
    ours, theirs = pty.openpty()
    clean = {key: value for key, value in os.environ.items() if not key.startswith("QUANTKIT_") and key != "NO_COLOR"}
    env = clean | {"COLUMNS": str(columns), "TERM": "xterm-256color"}
    text = b""
    with subprocess.Popen(
        words, cwd=folder, env=env, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL
    ) as process:
        os.close(theirs)
        try:
            while piece := os.read(ours, 1 << 16):
                text += piece
        except OSError:  # the other end is closed
            pass
    os.close(ours)
    return process.returncode, text.decode()
