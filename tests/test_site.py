"""The docs as a site: built strictly, with every page, nothing dead in it, and nothing fetched from elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import quantkit

pytest.importorskip("mkdocs", reason="needs the extra docs")
pytest.importorskip("material", reason="needs the extra docs")
pytest.importorskip("mkdocstrings_handlers.python", reason="needs the extra docs")

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("mkdocs.yml", "pyproject.toml", "docs", "scripts", "quantkit", "README.md", "CONTRIBUTING.md", "CHANGELOG.md")

pytestmark = pytest.mark.skipif(not (ROOT / "mkdocs.yml").is_file(), reason="the docs are not here")


def build(root: Path, into: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(into)]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": path}
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_one_click_from_home(site: Path) -> None:
    pages = {path.relative_to(site).parent.as_posix() for path in site.rglob("index.html")} - {"."}
    written = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert written - {"index"} < pages
    assert {"reference/commands", "contributing", "changelog", "notebooks/first-calibration"} <= pages
    home = (site / "index.html").read_text(encoding="utf-8")
    assert pages <= {link.rstrip("/") for link in re.findall(r'href="([^"#]+)"', home)}


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        if page.parent.name != "results":
            text = page.read_text(encoding="utf-8")
            assert not re.search(r"<(?:script|img|source|iframe)[^>]* src(?:set)?=.?https?:", text), page
            assert not re.search(r"<link(?![^>]*rel=.?canonical)[^>]* href=.?https?:", text), page
            assert 'data-md-component="source"' not in text, page  # the script that asks GitHub for stars


def test_links_out_of_the_docs_lead_to_the_repository(site: Path) -> None:
    address = r'href="https://[^"]+/blob/main/([^"#]+)'
    linked = {
        name for page in site.rglob("index.html") for name in re.findall(address, page.read_text(encoding="utf-8"))
    }
    assert "README.md" in linked
    assert all((ROOT / name).is_file() for name in linked)


def test_the_reference_has_every_public_name_with_its_docstring(site: Path) -> None:
    pages = [(site / "reference" / name / "index.html").read_text(encoding="utf-8") for name in ("functions", "values")]
    text = "".join(pages)
    for name in set(quantkit.__all__) - {"__version__"}:
        home = getattr(quantkit, name).__module__
        assert f'id="{home}.{name}"' in text, name
    assert "How many are used at most." in text  # an argument of calibrate()


def test_dead_links_fail_the_build(tmp_path: Path) -> None:
    for name in PARTS:
        if name in ("docs", "scripts"):
            shutil.copytree(ROOT / name, tmp_path / name)
        elif (ROOT / name).is_dir():
            (tmp_path / name).symlink_to(ROOT / name)
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    links = ("missing.md", "tensorrt.md#nowhere", "../scripts/missing.py")
    with (tmp_path / "docs" / "glossary.md").open("a", encoding="utf-8") as page:
        page.writelines(f"\n[dead]({link})\n" for link in links)
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert all(link in done.stderr for link in links)
