"""Formats lists and errors for display."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

MOST_NAMED = 5  # names shown of a longer list
LONGEST_LINE = 500  # characters shown of an error's line


def some(names: Sequence[str]) -> str:
    """List the first few of many names, and count the rest."""
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def choice_of(name: str, known: Iterable[str]) -> str:
    """Return the hint for a name that is none of those known: what may be meant, and all that there are."""
    names = list(known)
    near = nearest(name, names)
    meant = f"Did you mean {near!r}? " if near else ""
    return f"{meant}Choose one of: {', '.join(names)}."


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like ``name``; None if none is like it."""
    folded = {one.lower(): one for one in known}
    near = get_close_matches(name.lower(), folded, n=1)
    return folded[near[0]] if near else None


def path_meant(path: Path, suffix: str = "") -> str:
    """Return "Did you mean …? " with what lies where ``path`` is missing and is called nearly so, or an empty text."""
    try:
        beside = [one.name for one in path.parent.iterdir() if one.suffix == suffix or not suffix]
    except OSError:
        return ""
    near = nearest(path.name, beside)
    return f"Did you mean {path.parent / near}? " if near else ""


def line_of(error: BaseException, last: bool = False) -> str:
    """Return the first line of an error's message, or the last one; the error's type if the message is empty."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1 if last else 0][:LONGEST_LINE]
