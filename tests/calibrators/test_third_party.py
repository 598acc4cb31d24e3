"""Calibrators from someone else's installed package, the one on the docs page among them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from quantkit.calibrators import calibrators
from tests.conftest import Quantkit
from tests.packages import Install

PAGE = Path(__file__).resolve().parents[2] / "docs" / "calibrators.md"
ENTRY_POINT = r'^\[project\.entry-points\."quantkit\.calibrators"\]\n([\w-]+) = "(\w+):(\w+)"$'
HALF = """
from quantkit import TensorRange

def amax(histogram):
    return TensorRange.symmetric(histogram.largest / 2, histogram.minimum, histogram.maximum)
"""


GROUP = "quantkit.calibrators"


def test_it_is_solved_beside_the_others_and_can_be_chosen(
    install: Install, invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path
) -> None:
    install("half", HALF, GROUP, half="amax")
    done = invoked("calibrate", model_path, "--data", images, "--method", "half", "-o", "out")
    assert done.returncode == 0, done.stderr
    tensor = json.loads((tmp_path / "out" / "calibration.json").read_text())["tensors"]["logits"]
    assert tensor["method"] == "half"
    assert tensor["amax"] == tensor["candidates"]["minmax"]["amax"] / 2
    assert '"half"' in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.skipif(not PAGE.is_file(), reason="the docs are not here")
def test_the_example_of_the_docs_works_as_it_stands(
    install: Install, invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path
) -> None:
    text = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (project,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ((name, module, function),) = re.findall(ENTRY_POINT, project, re.MULTILINE)
    install(module, code, GROUP, **{name: function})

    done = invoked("calibrate", model_path, "--data", images, "--method", name, "-o", "out")
    assert done.returncode == 0, done.stderr
    tensor = json.loads((tmp_path / "out" / "calibration.json").read_text())["tensors"]["logits"]
    assert tensor["method"] == name
    assert 0 < tensor["candidates"][name]["amax"] == tensor["amax"] <= tensor["candidates"]["minmax"]["amax"]
    assert f'"{name}"' in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.skipif(not PAGE.is_file(), reason="the docs are not here")
def test_the_docs_name_every_method() -> None:
    named = re.findall(r"^\| `([a-z-]+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert named == list(calibrators())


def test_one_that_returns_a_bare_number_is_named_with_the_hint(
    install: Install, invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path
) -> None:
    install("bare", "def amax(histogram):\n    return 1.0\n", GROUP, bare="amax")
    done = invoked("calibrate", model_path, "--data", images, "-o", "out")
    assert done.returncode == 2
    assert "'bare' returned 1.0" in done.stderr
    assert "TensorRange.symmetric" in done.stderr


def test_one_that_does_not_load_is_named(
    install: Install, invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path
) -> None:
    install("half", "import nothing_of_this_name\n", GROUP, half="amax")
    done = invoked("calibrate", model_path, "--data", images, "-o", "out")
    assert done.returncode == 2
    assert "'half' (half:amax) does not load" in done.stderr
