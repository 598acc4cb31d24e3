"""Someone else's package, installed for a test: a module and the entry points that quantkit finds it by."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Install = Callable[..., Path]
"""``install(module, code, group, name=attribute)``: the folder that the package lies in, on this process's path."""


def write_package(site: Path, module: str, code: str, group: str, points: dict[str, str]) -> None:
    """Put ``module``.py with entry points of ``group`` into the folder ``site``.

    ``points`` are attributes of the module, or ``other.module:attribute``, by name.
    """
    information = site / f"{module}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    places = {name: at if ":" in at else f"{module}:{at}" for name, at in points.items()}
    lines = "".join(f"{name} = {place}\n" for name, place in places.items())
    (information / "entry_points.txt").write_text(f"[{group}]\n{lines}")
    (site / f"{module}.py").write_text(code)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package for this test alone."""
    modules: list[str] = []

    def run(module: str, code: str, group: str, **points: str) -> Path:
        site = tmp_path / "site"
        write_package(site, module, code, group, points)
        monkeypatch.syspath_prepend(site)
        modules.append(module)
        return site

    yield run
    for module in modules:
        sys.modules.pop(module, None)
