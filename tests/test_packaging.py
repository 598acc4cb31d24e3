"""The package installs what it says: names and extras in every pip command, and the README outside the repository."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from quantkit.targets.openvino import library as openvino
from quantkit.targets.tensorrt.engine.libraries import RTX, TENSORRT
from quantkit.version import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
SOURCES = [*(ROOT / "quantkit").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]
OTHERS = [ROOT / "action.yml", ROOT / "Dockerfile", *(ROOT / ".github").rglob("*.yml")]
FOREIGN = {  # what docs name beyond our own requirements
    "onnxruntime-gpu",
    "onnxscript",
    "optimum-onnx",
    "scikit-learn",
    "tensorflow",
    "tf2onnx",
    "torch",
    "torchvision",
    "ultralytics",
}

pytestmark = pytest.mark.skipif(not PAGES, reason="the docs are not here")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def texts() -> Iterator[tuple[str, str]]:
    for path in [*PAGES, *(path for path in OTHERS if path.is_file())]:
        yield path.name, path.read_text(encoding="utf-8")
    for path in SOURCES:  # strings as they are printed, in one piece
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path.name, node.value
    yield "openvino", openvino.pip_command("openvino", "nncf")
    yield "tensorrt", TENSORRT.install_command()
    yield "tensorrt-rtx", RTX.install_command()


def commands() -> list[tuple[str, list[str]]]:
    """Each pip install, with the words behind it up to the end of the command."""
    found = []
    for name, text in texts():
        for rest in re.findall(r"pip install ([^\n`;#&|]*)", text):
            rest = rest.rstrip("\\ ")  # the line goes on
            quoted = re.split(r"\.(?:\s|$)|\s+(?=\()", rest)[0] if not rest.startswith(".") else rest
            try:
                words = shlex.split(quoted)
            except ValueError:  # the quote that the command itself stands in, as in a Jenkinsfile
                words = shlex.split(re.sub(r"['\"]", "", quoted))
            found.append((name, [word.strip("'\":,.)") if word != "." else word for word in words]))
    return found


def test_every_pip_command_names_what_exists() -> None:
    own = project()
    extras = own["optional-dependencies"]
    listed = [*own["dependencies"], *(text for texts in extras.values() for text in texts)]
    known = {canonicalize_name(Requirement(text).name) for text in listed}
    seen = set()
    for place, words in commands():
        for word in words:
            if word.startswith("-") or word in ("", "e"):
                continue
            if local := re.fullmatch(r"\.?(?:\[([\w,-]+)\])?", word):
                asked = set((local[1] or "").split(",")) - {""}
            elif set(word) & set("/$*{"):  # a path
                continue
            else:
                requirement = Requirement(word)
                name = canonicalize_name(requirement.name)
                assert name == own["name"] or name in known | FOREIGN, f"{place}: pip install {word}"
                asked = requirement.extras if name == own["name"] else set()
                seen.add(name)
            assert asked <= extras.keys(), f"{place}: {word}"
    assert own["name"] in seen  # the reading reads


def test_the_extras_of_the_docs_are_all_found() -> None:
    named = {name for _, words in commands() for word in words for name in re.findall(r"\[([\w-]+)\]", word)}
    assert {"openvino", "detection", "text", "cuda", "ray", "tensorrt", "tensorrt-rtx"} <= named


def test_the_first_release_of_the_changelog_is_this_version() -> None:
    heads = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert heads[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(__version__)} \(\d{{4}}-\d\d-\d\d\)", heads[1])


def test_the_repository_is_named_in_one_place() -> None:
    urls = project()["urls"]
    assert all(url.startswith(urls["Homepage"]) for url in urls.values())
    owner = urls["Homepage"].removeprefix("https://")
    for path in [*PAGES, ROOT / "setup.py", ROOT / "Dockerfile", *(ROOT / "quantkit").rglob("*.py")]:
        if path.is_file():
            assert owner not in path.read_text(encoding="utf-8"), path.name


@pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="the sources are not here")
def test_outside_the_repository_the_readmes_links_name_files_of_this_release(tmp_path: Path) -> None:
    command = [sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (information,) = tmp_path.glob("*.egg-info")
    text = (information / "PKG-INFO").read_text(encoding="utf-8")
    home = project()["urls"]["Homepage"]
    links = re.findall(r"""\]\(([^)]+)\)|(?:src|srcset|href)="([^"]+)\"""", text)
    flat = [first or second for first, second in links]
    inside = [link for link in flat if link.startswith(home)]
    assert len(inside) > 20
    assert all(link.startswith(("https://", "#")) for link in flat)
    for link in inside:
        kind, release, path = link.removeprefix(home + "/").split("#")[0].split("/", 2)
        assert (ROOT / path).exists(), link
        assert release == f"v{__version__}"
        assert kind == ("raw" if path.endswith(".png") else "blob")
