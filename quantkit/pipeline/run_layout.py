"""Where the files of a run are while another command replaces them."""

from __future__ import annotations

from pathlib import Path

NEXT = ".next"  # a complete calibration that is taking the place of the run's


def current(folder: Path, name: str) -> Path:
    """Return the path of a run's file; while the run is replaced, that of the new one until it is in its place."""
    new = folder / NEXT / name
    return new if new.is_file() else folder / name
