"""Output for users: logs and progress on stderr, tables on stdout."""

from __future__ import annotations

import logging
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from quantkit.core.escape import one_line, visible
from quantkit.core.progress import Advance, silent
from quantkit.core.progress import Progress as ProgressProtocol
from quantkit.core.progress_bar import bar as progress_bar
from quantkit.core.run_log import RunLog

if TYPE_CHECKING:
    from quantkit.core.record import Record

SECONDS_BETWEEN_LINES = 10
SECONDS_WORTH_A_LINE = 2
log = logging.getLogger("quantkit")
_stage = ""  # what is being done; kept when it fails


class _SafeConsole(Console):
    """Prints text with control characters escaped: names of tensors and files are untrusted."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does."""
        super().print(*(visible(one) if isinstance(one, str) else one for one in objects), **options)


stdout = _SafeConsole(highlight=False, emoji=False, soft_wrap=True)
stderr = _SafeConsole(stderr=True, highlight=False, emoji=False, soft_wrap=True)


def configure(verbose: int, quiet: bool) -> ProgressProtocol:
    """Set the log level and choose the progress display.

    Args:
        verbose: The number of -v options: 1 shows more, 2 shows tracebacks.
        quiet: Show only errors, and no progress.

    Returns:
        The progress display.
    """
    shown = logging.ERROR if quiet else logging.DEBUG if verbose >= 2 else logging.INFO
    kept = [handler for handler in log.handlers if isinstance(handler, RunLog)]  # of the verb that calls this one
    log.handlers = [_StderrHandler(shown), *(kept or [RunLog()])]
    warnings.filterwarnings("ignore", module="PIL")  # on damaged images, which are reported by name
    log.propagate = False
    log.setLevel(min(shown, logging.INFO))
    return _noted(silent if quiet else bar)


def doing() -> str:
    """Return what is being done, or was when it failed; empty if that has no name."""
    return _stage


def _noted(display: ProgressProtocol) -> ProgressProtocol:
    """Return the same display, which also remembers what is being done."""

    @contextmanager
    def noted(description: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
        global _stage
        before, _stage = _stage, description
        with display(description, total, unit, done) as advance:
            yield advance
        _stage = before

    return noted


@contextmanager
def bar(description: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
    """Show a progress bar with rate and remaining time; if stderr is not a terminal, log a line now and then."""
    if not stderr.is_terminal:
        with _lines(description, total, unit, done) as advance:
            yield advance
        return
    start, position = time.monotonic(), done
    with progress_bar(description, total, unit, done, stderr) as shown:

        def advance(count: int) -> None:
            nonlocal position
            position += count
            shown(count)

        yield advance
    _ended(description, position, unit, start)


@contextmanager
def _lines(description: str, total: int, unit: str, done: int) -> Iterator[Advance]:
    """Show progress for logs and pipes: a line every ten seconds, and one at the end of longer work."""
    start = spoken = time.monotonic()
    position = done

    def advance(count: int) -> None:
        nonlocal position, spoken
        position += count
        now = time.monotonic()
        if now - spoken > SECONDS_BETWEEN_LINES and position < total:
            spoken = now
            rate = (position - done) / (now - start)
            left = (total - position) / rate
            log.info("%s: %d of %d %s, %.3g/s, %.0f s left", description, position, total, unit, rate, left)

    yield advance
    _ended(description, position, unit, start)


def _ended(description: str, position: int, unit: str, start: float) -> None:
    """Say in a line what longer work did."""
    if (taken := time.monotonic() - start) > SECONDS_WORTH_A_LINE:
        log.info("%s: %d %s in %.1f s", description, position, unit, taken)


def fail(what: str, hint: str, error: BaseException | None = None) -> None:
    """Print an error on stderr; with -vv also its traceback.

    Args:
        what: A sentence on what is wrong.
        hint: A sentence on how to fix it.
        error: The exception, for the traceback.
    """
    if error is not None and log.isEnabledFor(logging.DEBUG):
        stderr.print("".join(traceback.format_exception(error)), markup=False)
    for handler in log.handlers:
        if isinstance(handler, RunLog):
            handler.handle(logging.LogRecord(log.name, logging.ERROR, "", 0, f"{what} {hint}", None, None))
    stderr.print(f"[bold red]Error:[/] {escape(one_line(what))}\n       {escape(one_line(hint))}")


def print_json(document: Record) -> None:
    """Print a JSON document on stdout. Raises ValueError for NaN and Inf, which JSON does not have."""
    import json

    print_raw(json.dumps(document.model_dump(mode="json"), indent=1, ensure_ascii=True, allow_nan=False))


def print_raw(text: str) -> None:
    """Print text on stdout unchanged."""
    sys.stdout.write(text + "\n")


class _StderrHandler(logging.Handler):
    """Prints messages above the progress bar if there is one, but none twice; only warnings and errors show a level."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        level = f"{record.levelname.capitalize()}: " if record.levelno >= logging.WARNING else ""
        if isinstance(record.args, tuple):  # a newline in what is named must not begin a line of its own
            record.args = tuple(one_line(str(arg)) if not isinstance(arg, (int, float)) else arg for arg in record.args)
        line = f"{level}{record.getMessage()}"
        if line not in self._said:  # several stages of one command read the same data
            self._said.add(line)
            stderr.print(line, markup=False, soft_wrap=True)
