"""How long work reports that it advances, without knowing who watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Opens one progress display; the value it yields is called with the number of units just finished."""

    def __call__(self, description: str, total: int, unit: str, done: int = 0) -> AbstractContextManager[Advance]:
        """``done`` units were finished earlier, by an interrupted run."""


@contextmanager
def silent(description: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
    """Show nothing."""
    yield lambda count: None
