"""``quantkit build`` in the midst of building, to be interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quantkit.targets.tensorrt.engine import child


@contextmanager
def building(run: Path, *options: str, seconds: float) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """The command ``seconds`` after it began to build, which is surely in the library; and the processes that build."""
    process = subprocess.Popen(
        [sys.executable, "-m", "quantkit", "build", str(run), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        end = time.monotonic() + 60
        while not builders_of(process.pid) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(seconds)
        builders = builders_of(process.pid)
        assert builders
        yield process, builders
    finally:
        process.kill()
        process.communicate()


def builders_of(parent: int) -> list[int]:
    """The processes that build, in the order of their start; those that only parse an exported file are none."""
    own = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(one) for one in own if child.__name__.encode() in Path(f"/proc/{one}/cmdline").read_bytes()]


def is_running(process: int) -> bool:
    """True if a process is there and is not just waiting to be collected."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
