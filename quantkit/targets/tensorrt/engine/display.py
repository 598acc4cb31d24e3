"""Shows how far builds are that run in other processes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from quantkit.core.progress import Advance, Progress
from quantkit.targets.tensorrt.engine.child import Advanced, Begun, Ended, Message


class Display:
    """One progress for all builds.

    It goes by the clock if the seconds that they will take are known, because the library's steps take very different
    times, and TensorRT 8.6 reports none. Else it goes by the steps of a lone build, or by engines.
    """

    def __init__(self, names: Sequence[str], expected_s: float | None, progress: Progress) -> None:
        self._title = f"building {', '.join(names)}"
        self._count = len(names)
        self._seconds = None if expected_s is None else max(round(expected_s), 1)
        self._by_steps = expected_s is None and len(names) == 1
        self._progress = progress
        self._started = time.monotonic()
        self._shown = 0
        self._done = 0
        self._stack = ExitStack()
        self._advance: Advance | None = None

    def __enter__(self) -> Display:
        if self._seconds is not None:
            self._open(f"{self._title} (last time: {self._seconds} s)", self._seconds, "s")
        elif not self._by_steps and self._count:
            self._open(self._title, self._count, "engines")
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)

    def tick(self) -> None:
        """Move with the clock, but not to the end."""
        if self._seconds is not None:
            self._move_to(min(int(time.monotonic() - self._started), self._seconds - 1))

    def show(self, message: Message) -> None:
        """Show a step of a lone build."""
        if not self._by_steps:
            return
        if isinstance(message, Begun):
            self._open(message.description, message.total, message.unit)
        elif isinstance(message, Advanced) and self._advance is not None:
            self._advance(message.count)
        elif isinstance(message, Ended):
            self._stack.close()

    def engine_done(self) -> None:
        """Count an engine."""
        self._done += 1
        if self._seconds is not None:
            self._move_to(self._seconds if self._done == self._count else self._shown)
        elif not self._by_steps:
            self._move_to(self._done)

    def _open(self, description: str, total: int, unit: str) -> None:
        self._advance = self._stack.enter_context(self._progress(description, total, unit))

    def _move_to(self, position: int) -> None:
        if position > self._shown and self._advance is not None:
            self._advance(position - self._shown)
            self._shown = position
