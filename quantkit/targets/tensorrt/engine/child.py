"""The process that builds one engine, so that a signal to quantkit, or a crash of the library, ends no more than it.

It is started by ``process.py``, receives a :class:`Task`, and sends progress, logs, and an :class:`Outcome` or error.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from quantkit.core.cuda import make_current
from quantkit.core.errors import QuantkitError
from quantkit.core.files import writing_to
from quantkit.core.progress import Advance
from quantkit.targets.tensorrt.engine import builder
from quantkit.targets.tensorrt.engine.builder import Job
from quantkit.targets.tensorrt.engine.record import ENGINE_FILE, EngineLayer

log = logging.getLogger("quantkit")
TIMING_CACHE = "timing.cache"
PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True)
class Task:
    """What the process does.

    Attributes:
        job: The engine to build.
        folder: Where the engine goes, and the timing cache.
        level: The log level.
    """

    job: Job
    folder: Path
    level: int


@dataclass(frozen=True)
class Outcome:
    """What was built, beside the files.

    Attributes:
        without_range: The tensors for which implicit quantization found no range.
        layers: The engine's layers; none if it cannot be loaded here.
        executed_precision: The precision that the weighted layers run in; empty if it cannot be loaded here.
    """

    without_range: tuple[str, ...]
    layers: tuple[EngineLayer, ...]
    executed_precision: str


@dataclass(frozen=True)
class Said:
    """A message for the log."""

    level: int
    text: str


@dataclass(frozen=True)
class Begun:
    """A phase of the build began; its arguments are those of ``Progress``."""

    description: str
    total: int
    unit: str


@dataclass(frozen=True)
class Advanced:
    """Units of the phase are done."""

    count: int


@dataclass(frozen=True)
class Ended:
    """The phase ended."""


Message = Outcome | QuantkitError | Said | Begun | Advanced | Ended


class _Channel(logging.Handler):
    """Sends messages to the parent, from any thread of the library."""

    def __init__(self, connection: Connection[Message, Any]) -> None:
        super().__init__()
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        with self._sending:
            self._connection.send(message)

    def emit(self, record: logging.LogRecord) -> None:
        self.send(Said(record.levelno, record.getMessage()))

    @contextmanager
    def progress(self, description: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
        self.send(Begun(description, total, unit))
        yield lambda count: self.send(Advanced(count))
        self.send(Ended())


def main(descriptor: int, parent: int) -> None:
    """Build the engine of the task that comes through a connection.

    Args:
        descriptor: The file descriptor of the connection.
        parent: The process that waits for it.
    """
    _die_with(parent)
    connection: Connection[Message, Any] = Connection(descriptor)
    channel = _Channel(connection)
    task: Task = connection.recv()
    log.handlers, log.propagate = [channel], False
    log.setLevel(task.level)
    try:
        channel.send(_done(task, channel))
    except QuantkitError as error:
        channel.send(error)


def _done(task: Task, channel: _Channel) -> Outcome:
    job = task.job
    if job.device is not None:
        make_current(job.device)
    built = builder.build(job, channel.progress)
    with writing_to(task.folder / ENGINE_FILE):
        (task.folder / ENGINE_FILE).write_bytes(built.plan)
        if built.timing_cache:
            (task.folder / TIMING_CACHE).write_bytes(built.timing_cache)
    if job.device is None:
        return Outcome(built.without_range, (), "")
    from quantkit.targets.tensorrt.engine.session import EngineSession

    session = EngineSession(built.plan, job.plan.folder, job.device, library=job.lib)
    session.layers = session.inspect()
    return Outcome(built.without_range, session.layers, session.executed_precision)


def _die_with(parent: int) -> None:
    """End this process, whatever it is doing, when its parent ends: the library heeds no signal while it builds."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
