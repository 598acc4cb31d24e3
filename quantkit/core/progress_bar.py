"""A progress bar with rate and time left, in a terminal or a notebook."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from quantkit.core.progress import Advance, Progress, silent

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def bar(description: str, total: int, unit: str, done: int = 0, console: Console | None = None) -> Iterator[Advance]:
    """Show one line that is rewritten, and gone in the end; see :class:`~quantkit.core.progress.Progress`.

    Args:
        description: What is being done.
        total: The number of units.
        unit: What is counted, in the plural.
        done: The number of units that are finished already.
        console: Where it is shown; None means stderr, or a notebook's cell.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
    )
    with Bar(*columns, console=console or Console(stderr=not _in_a_notebook()), transient=True) as shown:
        task = shown.add_task(description, total=total, completed=done, unit=unit, rate="")

        def advance(count: int) -> None:
            shown.advance(task, count)
            speed = shown.tasks[0].speed
            shown.update(task, rate=f"{speed:.3g}/s" if speed else "")

        yield advance


def shown_or_silent(progress: Progress | None) -> Progress:
    """Return what is given; for None a bar in a terminal or a notebook, and silence anywhere else."""
    if progress is not None:
        return progress
    return bar if sys.stderr.isatty() or _in_a_notebook() else silent


def _in_a_notebook() -> bool:
    """True in a Jupyter kernel, whose shell has this class."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
