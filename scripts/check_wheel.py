"""Checks what a wheel installs: one top-level package, with all its data files.

A top-level ``datasets`` or ``reports`` would overwrite other people's packages, and pip would not say so.

    python scripts/check_wheel.py dist/quantkit-*.whl
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = {".npz", ".onnx", ".md", ".toml", ".html", ".css", ".js", ".typed", ".cu"}


def main(wheel: str) -> int:
    """Return 1, with the reasons, when the wheel is not what it should be."""
    names = set(zipfile.ZipFile(wheel).namelist())
    top = {name.split("/")[0] for name in names}
    problems = [f"installs a top-level {name}" for name in top if name != "quantkit" and ".dist-info" not in name]
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "quantkit").rglob("*")
        if path.suffix in DATA | {".py"} and path.is_file()
    }
    problems += [f"lacks {name}" for name in sorted(expected - names)]
    for problem in problems:
        print(f"{Path(wheel).name} {problem}")
    if not problems:
        print(f"{Path(wheel).name}: {len(expected)} files, all below quantkit/")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
