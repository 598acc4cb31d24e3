"""Version numbers of packages, as far as decisions hang on them."""

from __future__ import annotations

from packaging.version import InvalidVersion, Version

Release = tuple[int, int]


def release_of(text: str) -> Release:
    """Major and minor of "8.6.0", "10.16.1.11" or "2026.4.1-22012-…"; (0, 0) of what is no version."""
    try:
        major, minor, *_ = (*Version(text.split("-")[0]).release, 0)
    except InvalidVersion:
        return (0, 0)
    return major, minor
