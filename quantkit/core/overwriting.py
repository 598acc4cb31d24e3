"""Keeps outputs from replacing what quantkit did not write."""

from __future__ import annotations

from pathlib import Path

from quantkit.core.errors import BadConfig

READ = 1 << 14  # bytes at either end of a file in which its mark is looked for
HTML_MARK = b'<meta name="generator" content="quantkit">'
JUNIT_MARK = b'<testsuites name="quantkit'
CHART_MARK = b"quantkit chart"


def check_overwrite(path: Path, mark: bytes | None, force: bool = False) -> None:
    """Raise BadConfig if ``path`` is a folder, or writing to it would replace a file that quantkit did not write.

    Args:
        path: The output.
        mark: What is found in such an output of quantkit's; None if there is no telling.
        force: Replace whatever there is.
    """
    if path.is_dir():
        raise BadConfig(f"The output {path} is a folder.", "Give the name of a file.")
    if force or not path.is_file() or path.stat().st_size == 0:  # a pipe or a device is written to, not replaced
        return
    if mark is not None:
        with path.open("rb") as stream:
            head = stream.read(READ)
            stream.seek(max(path.stat().st_size - READ, 0))
            if mark in head or mark in stream.read(READ):
                return
    raise BadConfig(
        f"{path} is there already, and quantkit did not write it.",
        "Give another name, or replace it (--force, force=True).",
    )
