"""Run the commands of README and docs, in order, each page in a folder of its own that holds what the pages name.

    python scripts/check_docs.py                       # every page
    python scripts/check_docs.py --page README.md      # one; --page may be repeated

Blocks of ``sh`` are run, and blocks of ``python`` that say what they need. A comment right before a block says why it
is not run, or which packages and programs it needs; without what Python needs, the rest of the page is left out, too::

    <!-- not run: needs a GPU -->
    <!-- needs: torch, torchvision -->

``pip install`` is not run, for the names in such lines are checked by ``tests/test_packaging.py``. At most 100 samples
are used, and latency is measured briefly: commands are tried here, not figures. Exit status 1: a block failed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 600
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>not run|needs): (?P<why>.*?) -->\n+)?^```(?P<language>sh|python)\n(?P<code>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
FEW = {"QUANTKIT_SAMPLES": "100", "QUANTKIT_EVAL_SAMPLES": "100", "COLUMNS": "200"}


@dataclass(frozen=True)
class Block:
    """A block of a page, with its comment."""

    line: int
    language: str
    code: str
    not_run: str
    needs: tuple[str, ...]

    @property
    def missing(self) -> str:
        """What it needs and is not here, or nothing."""
        found = (shutil.which(name) or importlib.util.find_spec(name.replace("-", "_")) for name in self.needs)
        return ", ".join(name for name, place in zip(self.needs, found, strict=True) if not place)


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks that are commands, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(text):
        mark, why = match["mark"], match["why"] or ""
        if match["language"] == "sh" or mark:
            needs = tuple(name.strip() for name in why.split(",")) if mark == "needs" else ()
            line = text.count("\n", 0, match.start("code")) + 1
            found.append(
                Block(line, match["language"], match["code"], why if mark == "not run" else "", needs),
            )
    return found


def main() -> None:
    """Run the pages that are asked for, and print what became of each block."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="append", type=Path, help="a page; default: all")
    asked = parser.parse_args().page
    pages = [ROOT / page for page in asked] if asked else [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    begun = time.monotonic()
    outcomes = {"pass": 0, "skip": 0, "FAIL": 0}
    with tempfile.TemporaryDirectory(prefix="check-docs-") as work:
        programs = _programs(Path(work) / "bin")
        for page in pages:
            if blocks := blocks_of(page):
                for outcome in _run_page(page, blocks, Path(work) / page.stem, programs):
                    outcomes[outcome] += 1
    counts = ", ".join(f"{count} {name}" for name, count in outcomes.items())
    print(f"{len(pages)} pages: {counts}; {time.monotonic() - begun:.0f} s")
    raise SystemExit(outcomes["FAIL"] > 0)


def _run_page(page: Path, blocks: list[Block], folder: Path, programs: Path) -> list[str]:
    """Run the blocks of a page, and return their outcomes."""
    name = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name
    sys.path.insert(0, str(ROOT))
    from tests.docs_folder import prepare

    prepare(folder, name, programs)
    outcomes, lacking, here = [], "", folder
    for block in blocks:
        missing = lacking or block.missing
        if block.language == "python":
            lacking = missing  # what it would have made is missing for the blocks behind it
        reason = block.not_run or (f"needs {missing}" if missing else "")
        if reason:
            outcome, seconds, note = "skip", 0.0, reason
        else:
            begun = time.monotonic()
            error, here = _run(block, here, folder, programs)
            outcome, seconds, note = "FAIL" if error else "pass", time.monotonic() - begun, error
        print(f"{outcome}  {name}:{block.line}  {seconds:5.1f} s  {note or _first(block.code)}", flush=True)
        outcomes.append(outcome)
    shutil.rmtree(folder)
    return outcomes


def _run(block: Block, here: Path, folder: Path, programs: Path) -> tuple[str, Path]:
    """Run one block; return the error's text, or nothing, and the folder that it ends in."""
    end = folder / ".here"
    if block.language == "python":
        command = [sys.executable, "-c", block.code]
    else:
        code = block.code.replace("/shared/", f"{folder}/shared/")
        command = ["bash", "-euo", "pipefail", "-c", f"{code}\npwd > '{end}'"]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **FEW, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": paths}
    try:
        done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"did not end in {SECONDS} s", here
    if done.returncode:
        return f"exit status {done.returncode}\n{block.code}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}", here
    return "", Path(end.read_text().strip()) if end.is_file() else here


def _programs(folder: Path) -> Path:
    """Make a folder with this Python's ``quantkit``, and a ``pip`` that says that it is not run."""
    folder.mkdir()
    brief = "from quantkit.measure import latency; latency.SECONDS_PER_SESSION = 0.2"
    own = f'exec "{sys.executable}" -c "{brief}; from quantkit.cli.main import main; main()" "$@"'
    for name, line in {
        "quantkit": own,
        "python": f'exec "{sys.executable}" "$@"',
        "pip": "echo not run: pip $* >&2",
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    return folder


def _first(code: str) -> str:
    """Return the first line, short, and how many others there are."""
    lines = code.strip().splitlines()
    return lines[0].split("  #")[0].rstrip()[:90] + (f"  (+{len(lines) - 1})" if len(lines) > 1 else "")


if __name__ == "__main__":
    main()
