"""The wildcards of ``--exclude``: ``*`` and ``?``, in names of nodes and tensors."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def matches(name: str, patterns: Iterable[str]) -> bool:
    """True if one of the wildcards matches the name; case counts."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def literal(name: str) -> str:
    """Return a wildcard that matches only this name."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
