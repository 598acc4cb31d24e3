"""What the docs say holds: links lead somewhere, the settings are the settings, the README's Python runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import quantkit
from quantkit.config import Config
from quantkit.config_files import load_config
from quantkit.core.statistics.collected import Collected
from quantkit.core.statistics.files import COLLECTED_FILES, save_collected
from quantkit.demo.write import write_demo

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]

pytestmark = pytest.mark.skipif(not PAGES, reason="the docs are not here")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_links_and_pictures_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_settings_page_states_every_key_and_its_default(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "docs" / "configuration.md", "toml")
    (tmp_path / "quantkit.toml").write_text(text, encoding="utf-8")
    stated = load_config(tmp_path / "quantkit.toml")
    for name in ("preprocess", "calibrate", "task", "compare", "export", "build", "openvino"):
        assert getattr(stated, name) == getattr(Config(), name)
    assert stated.data.samples == Config().data.samples
    for table, field in Config.model_fields.items():
        optional = () if table == "gate" else get_args(field.annotation)  # a rule has keys that exclude each other
        tables = [own for own in (field.annotation, *optional) if hasattr(own, "model_fields")]
        keys = [key for own in tables for key in own.model_fields]
        for key in keys:
            assert re.search(rf"^#? ?{key} = ", text, re.MULTILINE), f"[{table}] {key} is not on the page"


def test_the_calibration_pages_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_demo(tmp_path / "digits")
    monkeypatch.chdir(tmp_path / "digits")
    quantkit.calibrate("model.onnx", data="imgs/calib", samples=20, output="out")
    (code,) = blocks(ROOT / "docs" / "calibration.md", "python")
    names: dict[str, Any] = {}
    exec(compile(code, "calibration.md", "exec"), names)
    assert names["signed"].sum() == names["histogram"].total == 20 * 10
    assert names["channels"].mean.shape == (10,)


def test_the_calibration_page_lists_every_array(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "calibration.md").read_text(encoding="utf-8")
    save_collected(tmp_path, Collected({}, {}, {}))
    for file in COLLECTED_FILES:
        rows = page[page.index(f"| `{file}`") :].split("\n\n")[0].splitlines()[2:]
        listed = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
        assert listed == set(np.load(tmp_path / file))


@pytest.mark.slow
def test_the_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brief_tuning: None) -> None:
    write_demo(tmp_path / "digits")
    monkeypatch.chdir(tmp_path / "digits")
    for number, image in enumerate(sorted((tmp_path / "digits" / "imgs" / "eval").rglob("*.png"))):
        if number % 4:  # a quarter of them shows it, too
            image.unlink()
    (code,) = blocks(ROOT / "README.md", "python")
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "digits" / "report.html").is_file()
    assert (tmp_path / "digits" / "trt" / "tensorrt" / "int8" / "calibration.cache").is_file()


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "docs" / "notebooks" / "first-calibration.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names: dict[str, Any] = {}
    for cell in cells:
        exec(compile(cell, "first-calibration.ipynb", "exec"), names)
    assert names["verdict"].passed
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "tensorrt" / "tensorrt" / "int8" / "calibration.cache").is_file()


def test_every_page_that_the_code_names_is_there() -> None:
    sources = [*(ROOT / "quantkit").rglob("*.py"), ROOT / "quantkit" / "cli" / "quantkit.toml", ROOT / "action.yml"]
    sources += [*(ROOT / "quantkit" / "reports" / "templates").rglob("*"), *(ROOT / "scripts").glob("*.py")]
    foreign = {"docs/operators.md"}  # of onnx-tensorrt, with its address in front
    named = [
        (path.name, page)
        for path in sources
        if path.is_file()
        for page in re.findall(r"(?<![\w/])docs/[\w/-]+\.(?:md|ipynb)", path.read_text(encoding="utf-8"))
    ]
    assert len(named) > 15
    for name, page in named:
        assert page in foreign or (ROOT / page).is_file(), f"{name}: {page}"
