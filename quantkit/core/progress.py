"""How long-running work reports its progress, independent of the display."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Opens a progress display and yields a function to call with the number of units just finished."""

    def __call__(self, description: str, total: int, unit: str, done: int = 0) -> AbstractContextManager[Advance]:
        """Open the display.

        Args:
            description: What is being done.
            total: The number of units.
            unit: What is counted, in the plural.
            done: The number of units that an interrupted run has finished already.
        """


@contextmanager
def silent(description: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
    """Show nothing."""
    yield lambda count: None
