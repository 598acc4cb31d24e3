"""Folders for caches: quantkit's own, and those of libraries that would complain about a read-only home."""

from __future__ import annotations

import os
from pathlib import Path

# What libraries write there, such as onnxruntime its identifier. By the variable that moves it: where it goes without.
HOMES = {"XDG_CACHE_HOME": "~/.cache"}


def provide_cache_folder() -> None:
    """Point the libraries to a folder of this user's below the temporary one where the home directory cannot serve."""
    lacking = [name for name, usual in HOMES.items() if not os.environ.get(name) and not _serves(usual)]
    if not lacking:
        return
    import tempfile

    user = os.getuid() if hasattr(os, "getuid") else "cache"
    own = Path(tempfile.gettempdir()) / f"quantkit-{user}"
    try:
        own.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return
    if own.is_symlink() or (hasattr(os, "getuid") and own.stat().st_uid != user):
        return  # someone else's
    os.environ.update(dict.fromkeys(lacking, str(own)))


def cache_folder(name: str) -> Path | None:
    """Return a folder of quantkit's own for what can be computed again; None if there is none to write to."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - as below
    folder = Path(home) / "quantkit" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def _serves(usual: str) -> bool:
    folder = Path(os.path.expanduser(usual))  # noqa: PTH111 - Path.expanduser() raises without a home
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
