"""Runs builds in processes of their own, which end at once when this one is told to.

The library heeds no signal while it builds, and may crash. A signal raises KeyboardInterrupt here, where nothing but
waiting is done; the processes are killed on the way out. They write into a folder that the caller removes.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import IO

from quantkit.core.errors import BackendMissing, QuantkitError, TargetRefuses
from quantkit.core.progress import Progress
from quantkit.targets.tensorrt.engine.builder import Job
from quantkit.targets.tensorrt.engine.child import Message, Outcome, Said, Task
from quantkit.targets.tensorrt.engine.display import Display

log = logging.getLogger("quantkit")
CODE = "import sys; sys.path[:] = sys.argv[3:]; from {} import main; main(int(sys.argv[1]), int(sys.argv[2]))"
TICK = 0.5  # seconds between two looks at the clock
LONG = 60.0  # seconds of a build after which it is said what makes one shorter
KILLED_WITHIN = 1.5  # seconds that a killed process may take to be gone, which with a GPU takes its driver a while
LEVEL_2 = (
    "%s has been building for a minute. Building is shorter at optimization level 2, and the engine may be slower: "
    "the INT8 engine of a YOLOv8n takes 92 s on an H100 there, where level 3, TensorRT's default, did not end in 400 s."
)


@dataclass(frozen=True, eq=False)
class Wanted:
    """A build to run.

    Attributes:
        job: The engine to build.
        folder: An empty folder for its files.
        expected_s: The seconds that its last build took; None if there was none.
    """

    job: Job
    folder: Path
    expected_s: float | None = None


@dataclass(frozen=True)
class Finished:
    """A build that succeeded."""

    wanted: Wanted
    outcome: Outcome
    seconds: float


def run_builds(builds: Sequence[Wanted], side_by_side: int, progress: Progress) -> Generator[Finished, None, None]:
    """Run builds, and yield each when it is done.

    Args:
        builds: The builds.
        side_by_side: How many run at a time.
        progress: Receives the progress: by the clock if the last builds' seconds are known, else by the library's own
            steps of a lone build, or by engines.

    Raises:
        QuantkitError: What a build raised. The others are ended.
        TargetRefuses: A build's process crashed.
        BackendMissing: A build's process was killed, as for a lack of memory.
    """
    waiting, running = list(builds), list[_Running]()
    with ExitStack() as stack:
        names = [build.job.plan.folder for build in builds]
        display = stack.enter_context(Display(names, _expected_s(builds, side_by_side), progress))
        stack.callback(_end_all, running)
        while waiting or running:
            while waiting and len(running) < side_by_side:
                running.append(_Running.start(waiting.pop(0)))
            ready = wait([own.connection for own in running], TICK)
            display.tick()
            for own in list(running):
                outcome = own.received(display) if own.connection in ready else None
                own.hint_if_long()
                if outcome is not None:
                    own.end()
                    running.remove(own)
                    display.engine_done()
                    yield Finished(own.wanted, outcome, time.monotonic() - own.started)


def _expected_s(builds: Sequence[Wanted], side_by_side: int) -> float | None:
    """Return the seconds that builds will take if they take as long as last time; None if one has no last time."""
    known = [build.expected_s for build in builds if build.expected_s is not None]
    if not known or len(known) < len(builds):
        return None
    return max(*known, sum(known) / side_by_side, 0.0)


def _end_all(running: Sequence[_Running]) -> None:
    for own in running:
        own.end()


@dataclass
class _Running:
    """A process that builds."""

    wanted: Wanted
    process: subprocess.Popen[bytes]
    connection: Connection[Task, Message]
    errors: IO[bytes]
    started: float = field(default_factory=time.monotonic)
    hinted: bool = False

    @classmethod
    def start(cls, wanted: Wanted) -> _Running:
        """Start the process. It is in a session of its own, so that Ctrl-C comes to this process alone."""
        ours, theirs = Pipe()
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        paths = [path or str(Path.cwd()) for path in sys.path]
        arguments = [CODE.format(Task.__module__), str(theirs.fileno()), str(os.getpid()), *paths]
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", *arguments],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            start_new_session=True,
        )
        theirs.close()
        own = cls(wanted, process, ours, errors)
        try:
            ours.send(Task(wanted.job, wanted.folder, log.getEffectiveLevel()))
        except OSError:
            raise own.death() from None
        except BaseException:
            own.end()
            raise
        return own

    def received(self, display: Display) -> Outcome | None:
        """Act on one message. Return what was built if that is it; raise what the process raised, or its death."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            raise self.death() from None
        if isinstance(message, QuantkitError):
            raise message
        if isinstance(message, Outcome):
            return message
        if isinstance(message, Said):
            log.log(message.level, "%s", message.text)
        else:
            display.show(message)
        return None

    def hint_if_long(self) -> None:
        """Say once what makes a long build shorter, unless the user has chosen."""
        job = self.wanted.job
        if self.hinted or job.lib.ahead or job.settings.optimization_level is not None:
            return
        if time.monotonic() - self.started > LONG:
            self.hinted = True
            log.info(LEVEL_2, job.plan.folder)

    def death(self) -> QuantkitError:
        """Return the error for a process that ended without a result, which is waited for."""
        job, status = self.wanted.job, self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().decode("utf-8", "replace").strip()
        log.debug("The process that built %s said: %s", job.plan.folder, said)
        doing = f"while it built {job.plan.folder} from {job.source}"
        if status == -getattr(signal, "SIGKILL", 9):  # which Windows does not have
            return BackendMissing(
                f"{job.lib.title} was killed, as a system does that runs out of memory, {doing}.",
                "Free some, use smaller shapes, or build fewer precisions at a time.",
            )
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return TargetRefuses(
            f"{job.lib.title} crashed ({how}) {doing}.",
            "Leave that precision out, or use another release; -vv shows what it said.",
        )

    def end(self) -> None:
        """Kill the process if it runs, and wait until it is gone."""
        self.process.kill()
        try:
            self.process.wait(KILLED_WITHIN)
        except subprocess.TimeoutExpired:
            log.debug("Process %d is slow to end.", self.process.pid)
        self.connection.close()
        self.errors.close()
