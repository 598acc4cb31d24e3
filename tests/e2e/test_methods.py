"""Another method: nothing that was measured is lost, no image is read, and methods are measured side by side."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

import quantkit as qk
from quantkit.core.errors import BadConfig
from quantkit.core.run_log import LOG_FILE
from quantkit.pipeline import artifact_files, keeping, replacement
from quantkit.pipeline.run_layout import NEXT
from tests.conftest import Quantkit, tiny_model, write_images

INT8 = "artifacts/onnxruntime/int8/model.onnx"
HALF = "artifacts/onnxruntime/fp16/model.onnx"
MEASURED = ("comparison.json", "predictions.npz", "gate.json", "report.html", "summary.md")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, images and a run that is compared and judged."""
    folder = tmp_path_factory.mktemp("methods")
    onnx.save(tiny_model(), folder / "m.onnx")
    images = write_images(folder / "imgs")
    qk.calibrate(folder / "m.onnx", images, method="minmax", output=folder / "run")
    qk.compare(
        qk.load_calibration(folder / "run"), images, targets="onnxruntime", precisions=["fp16", "int8"], rounds=3
    )
    return folder


@pytest.fixture
def run(compared: Path, invoked: Quantkit, tmp_path: Path) -> Path:
    shutil.copytree(compared / "run", tmp_path / "run")
    assert invoked("gate", "run", "--min-agreement", "1").returncode == 0
    return tmp_path / "run"


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != LOG_FILE)
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_another_method_keeps_what_was_measured(run: Path, compared: Path, invoked: Quantkit) -> None:
    before = contents(run)
    done = invoked("calibrate", "--method", "entropy", "-o", run)
    assert done.returncode == 0, done.stderr
    assert "no image is read" in done.stderr
    assert f"What was measured by minmax is kept in {run / 'methods' / 'minmax'}." in done.stderr
    kept = contents(run / "methods" / "minmax")
    for name in (*MEASURED, INT8):
        assert kept[name] == before[name]
    assert not (run / "comparison.json").exists()
    assert (run / HALF).read_bytes() == before[HALF]  # it does not depend on the method
    assert (run / INT8).read_bytes() != before[INT8]
    assert invoked("gate", run / "methods" / "minmax", "--min-agreement", "1").returncode == 0


def test_excluding_a_layer_reads_no_image_and_keeps_what_was_measured(
    run: Path, compared: Path, invoked: Quantkit
) -> None:
    (compared / "imgs").rename(compared / "gone")
    try:
        done = invoked("calibrate", "--exclude", "conv2", "-o", run, "--no-export")
    finally:
        (compared / "gone").rename(compared / "imgs")
    assert done.returncode == 0, done.stderr
    assert qk.load_calibration(run).exclude == ("conv2",)
    assert (run / "methods/minmax/comparison.json").is_file()


def test_methods_are_measured_side_by_side(run: Path, compared: Path, invoked: Quantkit) -> None:
    half = (run / HALF).stat().st_mtime_ns
    command = ("compare", run, "--data", compared / "imgs", "--target", "onnxruntime", "--rounds", "3")
    done = invoked(*command, "--method", "entropy", "--method", "minmax", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [(row["precision"], row["variant"]) for row in document["rows"]] == [
        ("fp32", ""),
        ("fp16", ""),
        ("int8", "minmax"),
        ("int8", "entropy"),
    ]
    assert document["method"] == "minmax, entropy"
    paths = [row["path"] for row in document["rows"][1:]]
    assert paths == [HALF, INT8, f"methods/entropy/{INT8}"]
    assert all((run / path).is_file() for path in paths)
    assert document["rows"][0]["path"] == str(compared / "m.onnx")
    assert document["rows"][2]["sqnr_db"] != document["rows"][3]["sqnr_db"]
    assert (run / HALF).stat().st_mtime_ns == half  # measured once, not made again
    assert document["rows"][2]["layer_errors"] != document["rows"][3]["layer_errors"]
    report = (run / "report.html").read_text()
    for words in ("INT8 on onnxruntime (minmax)", "INT8 on onnxruntime (entropy)", "--method minmax --method entropy"):
        assert words in report
    judged = invoked("gate", run, "--min-agreement", "1")
    assert "onnxruntime int8 (entropy)" in judged.stdout
    # They are those that calibrating by that method gives, and are found again.
    made = (run / "methods/entropy" / INT8).stat().st_mtime_ns
    assert invoked("calibrate", "--method", "entropy", "-o", run).returncode == 0
    assert (run / INT8).stat().st_mtime_ns == made
    alone = invoked(*command, "--precision", "int8", "--json")
    assert json.loads(alone.stdout)["rows"][1]["sqnr_db"] == document["rows"][3]["sqnr_db"]
    assert [row["variant"] for row in json.loads(alone.stdout)["rows"]] == ["", "entropy"]


def test_methods_without_the_runs_own_and_from_python(compared: Path, tmp_path: Path) -> None:
    calibration = qk.calibrate(compared / "m.onnx", compared / "imgs", method="mse")
    found = qk.compare(
        calibration,
        compared / "imgs",
        targets="onnxruntime",
        precisions="int8",
        methods=["entropy", "minmax", "entropy"],
        rounds=1,
    )
    assert [row.variant for row in found.rows] == ["", "entropy", "minmax"]
    assert (found.method, [row.path for row in found.rows[1:]]) == ("entropy, minmax", ["", ""])
    assert found.predictions is not None
    assert found.predictions.keys == tuple(row.key for row in found.rows)
    with pytest.raises(BadConfig, match="no ranges by the method 'best'"):
        qk.compare(calibration, compared / "imgs", methods="best")
    changed = qk.Recipe.of(calibration, exclude=["conv2"])
    with pytest.raises(BadConfig, match="recipe of its own"):
        qk.compare(changed, compared / "imgs", methods="minmax")


def _killed_at(count: int, original: Callable[..., Path]) -> Callable[..., Path]:
    """Path.replace that is cut off after so many files."""
    left = [count]

    def replace(self: Path, target: Path) -> Path:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return original(self, target)

    return replace


@pytest.mark.parametrize("moved", range(12))
def test_a_move_that_was_killed_is_gone_on_with(
    run: Path, compared: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    """After every single file: what was measured is in one place or the other, and in the end where it belongs."""
    before = contents(run)
    calibration = qk.load_calibration(run)
    original = replacement.complete_replacement

    def killed(folder: Path) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", _killed_at(moved, Path.replace))
            original(folder)

    with monkeypatch.context() as patch:
        patch.setattr(replacement, "complete_replacement", killed)
        try:
            qk.calibrate(compared / "m.onnx", compared / "imgs", method="entropy", output=run)
        except KeyboardInterrupt:
            assert (run / NEXT).exists()
    assert qk.load_calibration(run).method == "entropy"
    again = qk.calibrate(compared / "m.onnx", compared / "imgs", method="entropy", output=run)
    assert again.ranges == calibration.by_method("entropy").ranges
    assert not (run / NEXT).exists()
    kept = contents(run / "methods" / "minmax")
    for name in (*MEASURED, INT8):
        assert kept[name] == before[name]
    assert not (run / INT8).exists()
    assert (run / HALF).read_bytes() == before[HALF]


def test_a_move_that_was_killed_behind_the_record_keeps_the_files(
    run: Path, compared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(run)

    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(artifact_files, "remove_artifact", killed)  # as moving an artifact ends
        with pytest.raises(KeyboardInterrupt):
            qk.calibrate(compared / "m.onnx", compared / "imgs", method="entropy", output=run)
    qk.calibrate(compared / "m.onnx", compared / "imgs", method="entropy", output=run)
    assert contents(run / "methods" / "minmax")[INT8] == before[INT8]
    assert not (run / INT8).exists()


def test_newer_results_of_a_method_take_the_place_of_older_ones(run: Path, compared: Path, invoked: Quantkit) -> None:
    (run / "methods/minmax").mkdir(parents=True)
    for name in ("comparison.json", "junit.xml"):
        (run / "methods/minmax" / name).write_text("older")
    newer = (run / "comparison.json").read_bytes()
    done = invoked("calibrate", "--method", "entropy", "-o", run, "--no-export")
    assert "give way to the newer ones" in done.stderr
    assert (run / "methods/minmax/comparison.json").read_bytes() == newer
    assert not (run / "methods/minmax/junit.xml").exists()


def test_no_link_is_followed_to_keep_something(run: Path, tmp_path: Path, invoked: Quantkit) -> None:
    (tmp_path / "elsewhere").mkdir()
    (run / "methods").symlink_to(tmp_path / "elsewhere")
    before = contents(run)
    done = invoked("calibrate", "--method", "entropy", "-o", run)
    assert done.returncode == 2
    assert "is a link" in done.stderr
    assert contents(run) == before
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", ["../../mine", "/etc", "..", "a b/c"])
def test_a_methods_name_is_no_path(name: str) -> None:
    folder = keeping.method_folder(Path("run"), name)
    assert folder.parent == Path("run/methods")
    assert ".." not in folder.parts


def test_a_new_calibration_says_that_old_results_go(
    run: Path, compared: Path, tmp_path: Path, invoked: Quantkit
) -> None:
    other = write_images(tmp_path / "other", per_class=5)
    done = invoked("calibrate", compared / "m.onnx", "--data", other, "-o", run, "--no-export")
    assert done.returncode == 0, done.stderr
    assert f"What was measured of the earlier calibration in {run} is removed." in done.stderr
