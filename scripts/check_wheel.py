"""Checks what a wheel installs: one top-level package, with all its data files, and a README with no relative link.

A top-level ``datasets`` or ``reports`` would overwrite other people's packages, and pip would not say so.

    python scripts/check_wheel.py dist/quantkit_int8-*.whl
"""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = {".npz", ".onnx", ".md", ".toml", ".html", ".css", ".js", ".typed", ".cu", ".txt"}


def main(wheel: str) -> int:
    """Return 1, with the reasons, when the wheel is not what it should be."""
    archive = zipfile.ZipFile(wheel)
    names = set(archive.namelist())
    top = {name.split("/")[0] for name in names}
    own = re.compile(r"quantkit(_int8-[^/]+\.(dist-info|data))?")  # .data: the man page
    problems = [f"installs a top-level {name}" for name in top if not own.fullmatch(name)]
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "quantkit").rglob("*")
        if path.suffix in DATA | {".py"} and path.is_file()
    }
    problems += [f"lacks {name}" for name in sorted(expected - names)]
    (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
    links = re.findall(r"""(?:\]\(|(?:src|srcset|href)=")([^)"\s]+)""", archive.read(metadata).decode())
    problems += [f"has a relative link in its README: {link}" for link in links if not link.startswith(("https:", "#"))]
    for problem in problems:
        print(f"{Path(wheel).name} {problem}")
    if not problems:
        print(f"{Path(wheel).name}: {len(expected)} files, all below quantkit/")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
