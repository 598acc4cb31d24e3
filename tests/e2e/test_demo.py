"""The embedded default, run whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Quantkit


@pytest.mark.slow
@pytest.mark.openvino
def test_the_demo_passes_its_own_gate(demo: Path) -> None:
    assert {path.name for path in demo.iterdir()} == {
        "LICENSE-digits.md",
        "imgs",
        "model.onnx",
        "quantkit.toml",
        "run",
    }
    assert len(list((demo / "imgs" / "calib").rglob("*.png"))) == 200
    assert len(list((demo / "imgs" / "eval").rglob("*.png"))) == 600
    document = json.loads((demo / "run" / "comparison.json").read_text())
    assert {(row["target"], row["precision"]) for row in document["rows"]} == {
        (target, precision) for target in ("onnxruntime", "openvino") for precision in ("fp32", "fp16", "int8")
    }
    for row in document["rows"]:
        assert row["metrics"]["top1"]["value"] > 0.98
        assert row["agreement"] > 0.98
        assert row["sqnr_db"] is None or row["sqnr_db"] > 30
    assert (demo / "run" / "report.html").is_file()


def test_a_folder_of_someone_elses_is_left_alone(invoked: Quantkit, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    done = invoked("demo", "mine")
    assert done.returncode == 2
    assert "not empty" in done.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_the_stored_model_is_small_and_its_data_is_named() -> None:
    from importlib import resources

    package = resources.files("quantkit.demo")
    assert len(package.joinpath("digits.onnx").read_bytes()) < 1_500_000
    text = package.joinpath("LICENSE-digits.md").read_text(encoding="utf-8")
    assert "UCI" in text
    assert "CC BY 4.0" in text


@pytest.mark.slow
@pytest.mark.openvino
@pytest.mark.parametrize("verb", ["gate", "report"])
def test_no_thumbnails_keeps_pictures_out_of_the_report(
    verb: str, demo: Path, invoked: Quantkit, tmp_path: Path
) -> None:
    if "data:image/jpeg" not in (demo / "run" / "report.html").read_text():
        pytest.skip("no answer changed on this machine")
    shutil.copytree(demo / "run", tmp_path / "run")
    assert invoked(verb, "run", "--no-thumbnails").returncode == 0
    assert "data:image/jpeg" not in (tmp_path / "run" / "report.html").read_text()
