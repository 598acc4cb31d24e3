"""How lists are worded for people."""

from __future__ import annotations

from collections.abc import Sequence

MOST_NAMED = 5  # names shown of a longer list


def some(names: Sequence[str]) -> str:
    """The first few of many names."""
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
