"""Calibrators from someone else's installed package, the one on the docs page among them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import quantkit as quantkit_package
from quantkit.calibrators import calibrators
from tests.conftest import Quantkit

PAGE = Path(__file__).resolve().parents[2] / "docs" / "calibrators.md"
ENTRY_POINT = r'^\[project\.entry-points\."quantkit\.calibrators"\]\n([\w-]+) = "(\w+):(\w+)"$'
HALF = """
from quantkit.core.ranges import TensorRange

def amax(histogram):
    return TensorRange.symmetric(histogram.largest / 2, histogram.minimum, histogram.maximum)
"""


def install(site: Path, module: str, code: str, entry_points: dict[str, str]) -> str:
    """Put a package with ``entry_points`` into the folder ``site``; returns a PYTHONPATH that finds it and quantkit."""
    information = site / f"{module}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    points = "".join(f"{name} = {value}\n" for name, value in entry_points.items())
    (information / "entry_points.txt").write_text(f"[quantkit.calibrators]\n{points}")
    (site / f"{module}.py").write_text(code)
    return f"{site}:{Path(quantkit_package.__file__).parents[1]}"


def test_it_is_solved_beside_the_others_and_can_be_chosen(
    quantkit: Quantkit, model_path: Path, images: Path, tmp_path: Path
) -> None:
    path = install(tmp_path / "site", "half", HALF, {"half": "half:amax"})
    done = quantkit("calibrate", model_path, "--data", images, "--method", "half", "-o", "out", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    tensor = json.loads((tmp_path / "out" / "calibration.json").read_text())["tensors"]["logits"]
    assert tensor["method"] == "half"
    assert tensor["amax"] == tensor["candidates"]["minmax"]["amax"] / 2
    assert '"half"' in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.skipif(not PAGE.is_file(), reason="the docs are not here")
def test_the_example_of_the_docs_works_as_it_stands(
    quantkit: Quantkit, model_path: Path, images: Path, tmp_path: Path
) -> None:
    text = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (project,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ((name, module, function),) = re.findall(ENTRY_POINT, project, re.MULTILINE)
    path = install(tmp_path / "site", module, code, {name: f"{module}:{function}"})

    done = quantkit("calibrate", model_path, "--data", images, "--method", name, "-o", "out", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    tensor = json.loads((tmp_path / "out" / "calibration.json").read_text())["tensors"]["logits"]
    assert tensor["method"] == name
    assert 0 < tensor["candidates"][name]["amax"] == tensor["amax"] <= tensor["candidates"]["minmax"]["amax"]
    assert f'"{name}"' in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.skipif(not PAGE.is_file(), reason="the docs are not here")
def test_the_docs_name_every_method() -> None:
    named = re.findall(r"^\| `([a-z-]+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert named == list(calibrators())


def test_one_that_returns_a_bare_number_is_named_with_the_mend(
    quantkit: Quantkit, model_path: Path, images: Path, tmp_path: Path
) -> None:
    path = install(tmp_path / "site", "bare", "def amax(histogram):\n    return 1.0\n", {"bare": "bare:amax"})
    done = quantkit("calibrate", model_path, "--data", images, "-o", "out", PYTHONPATH=path)
    assert done.returncode == 2
    assert "'bare' returned 1.0" in done.stderr
    assert "TensorRange.symmetric" in done.stderr


def test_one_that_does_not_load_is_named(quantkit: Quantkit, model_path: Path, images: Path, tmp_path: Path) -> None:
    path = install(tmp_path / "site", "half", "import nothing_of_this_name\n", {"half": "half:amax"})
    done = quantkit("calibrate", model_path, "--data", images, "-o", "out", PYTHONPATH=path)
    assert done.returncode == 2
    assert "'half' (half:amax) does not load" in done.stderr
