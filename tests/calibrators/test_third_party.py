"""A calibrator from someone else's installed package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import quantkit as quantkit_package
from tests.conftest import Quantkit


@pytest.fixture
def installed(tmp_path: Path) -> str:
    """A folder for PYTHONPATH with a package that names two entry points."""
    site = tmp_path / "site"
    (site / "half-1.0.dist-info").mkdir(parents=True)
    (site / "half-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: half\nVersion: 1.0\n")
    (site / "half-1.0.dist-info" / "entry_points.txt").write_text("[quantkit.calibrators]\nhalf = half:amax\n")
    (site / "half.py").write_text("def amax(histogram):\n    return histogram.largest / 2\n")
    return f"{site}:{Path(quantkit_package.__file__).parents[1]}"


def test_it_is_solved_beside_the_others_and_can_be_chosen(
    quantkit: Quantkit, model_path: Path, images: Path, tmp_path: Path, installed: str
) -> None:
    done = quantkit("calibrate", model_path, "--data", images, "--method", "half", "-o", "out", PYTHONPATH=installed)
    assert done.returncode == 0, done.stderr
    tensor = json.loads((tmp_path / "out" / "calibration.json").read_text())["tensors"]["logits"]
    assert tensor["method"] == "half"
    assert tensor["amax"] == tensor["candidates"]["minmax"]["amax"] / 2
    assert '"half"' in (tmp_path / "out" / "report.html").read_text()


def test_one_that_does_not_load_is_named(
    quantkit: Quantkit, model_path: Path, images: Path, tmp_path: Path, installed: str
) -> None:
    (tmp_path / "site" / "half.py").write_text("import nothing_of_this_name\n")
    done = quantkit("calibrate", model_path, "--data", images, "-o", "out", PYTHONPATH=installed)
    assert done.returncode == 2
    assert "'half' (half:amax) does not load" in done.stderr
