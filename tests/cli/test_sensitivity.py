"""What quantkit sensitivity prints, keeps and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Quantkit


@pytest.fixture
def run(invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path) -> Path:
    done = invoked("calibrate", model_path, "--data", images, "-o", "run", "--no-export")
    assert done.returncode == 0, done.stderr
    return tmp_path / "run"


def test_it_prints_the_worst_layers_first_and_the_report_names_them(invoked: Quantkit, run: Path) -> None:
    done = invoked("sensitivity", run, "--target", "onnxruntime")
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.strip().splitlines()
    assert head.split()[:3] == ["#", "layer", "kind"]
    assert "top-1 drop" in head
    assert "INT8 of onnxruntime, simulated: SQNR" in rows[-1]
    assert [row.split()[0] for row in rows[:-1]] == [str(n) for n in range(1, len(rows))]
    stored = json.loads((run / "sensitivity.json").read_text())
    assert [row.split()[1] for row in rows[:-1]] == [layer["name"] for layer in stored["layers"]]
    page = (run / "report.html").read_text()
    assert "By themselves, these layers lose most" in page
    assert "quantkit sensitivity</code> names" not in page


def test_json_is_the_record(invoked: Quantkit, run: Path) -> None:
    done = invoked("sensitivity", run, "--target", "tensorrt", "--samples", 6, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((run / "sensitivity.json").read_text())
    assert document["samples"] == 6
    assert document["target"] == "tensorrt"


def test_a_stale_or_damaged_file_does_not_stop_the_report(
    invoked: Quantkit, run: Path, model_path: Path, images: Path
) -> None:
    assert invoked("sensitivity", run, "--target", "onnxruntime").returncode == 0
    done = invoked("calibrate", model_path, "--data", images, "-o", run, "--no-export", "--method", "minmax")
    assert done.returncode == 0, done.stderr
    assert invoked("report", run).returncode == 0
    assert "these layers lose most" not in (run / "report.html").read_text()
    (run / "sensitivity.json").write_text("{")
    done = invoked("report", run)
    assert done.returncode == 0
    assert "sensitivity.json is damaged" in done.stderr


@pytest.mark.parametrize("case", ["target", "data", "gone", "run"])
def test_bad_input_is_an_error_with_a_way_out(invoked: Quantkit, run: Path, images: Path, case: str) -> None:
    if case == "gone":
        images.rename(images.with_name("elsewhere"))
    arguments, what, hint = {
        "target": ([run, "--target", "nobody"], "There is no target 'nobody'", "Choose one of"),
        "data": ([run, "--data", "nowhere"], "There is no file or folder", "--data"),
        "gone": ([run], "The calibration's data", "--data"),
        "run": (["nothing"], "There is no run directory nothing", "quantkit calibrate"),
    }[case]
    done = invoked("sensitivity", *arguments)
    assert done.returncode == 2
    assert what in done.stderr
    assert hint in done.stderr
    assert done.stdout == ""
    assert not (run / "sensitivity.json").exists()


def test_a_target_that_is_not_installed_is_an_error(
    invoked: Quantkit, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quantkit.targets import TARGETS, Availability

    monkeypatch.setattr(
        TARGETS["openvino"], "availability", lambda self: Availability(False, "", "it is not here", "Install it.")
    )
    done = invoked("sensitivity", run, "--target", "openvino")
    assert done.returncode == 3
    assert "openvino cannot be simulated here: it is not here." in done.stderr
