"""What quantkit tune prints, keeps, refuses and goes on with, and what else works on a run that was tuned."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import onnx
import pytest

import quantkit as qk
from quantkit.gates.recommendation_words import tune_command
from quantkit.pipeline.run_files import save_calibration
from quantkit.pipeline.tuning.result import load_tuning
from quantkit.reports.content.commands import reproduce
from tests.conftest import Quantkit, tiny_model, write_images

FAST = ("--target", "tensorrt")  # without a GPU it is simulated, and not timed


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory, brief_tuning: None) -> Path:
    folder = tmp_path_factory.mktemp("tune")
    onnx.save(tiny_model(), folder / "m.onnx")
    write_images(folder / "imgs", per_class=20)
    qk.calibrate(folder / "m.onnx", folder / "imgs", output=folder / "run")
    return folder


@pytest.fixture(scope="module")
def tuned(calibrated: Path) -> Path:
    """A tuned run, compared on ONNX Runtime."""
    calibration = qk.load_calibration(calibrated / "run")
    found = qk.tune(calibration, calibrated / "imgs", target="onnxruntime", min_sqnr=52.5, output=calibrated / "kept")
    assert found.met
    return calibrated / "kept"


@pytest.fixture
def run(calibrated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(calibrated / "run", tmp_path / "run"))


@pytest.fixture
def own(tuned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tuned, tmp_path / "own"))


def steps_of(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "tune.json").read_text())["steps"]
    return found


def test_it_prints_every_step_and_says_what_could_not_be_measured(
    invoked: Quantkit, run: Path, calibrated: Path
) -> None:
    done = invoked("tune", run, "--data", calibrated / "imgs", *FAST, "--min-sqnr", 55)
    assert done.returncode == 0, done.stderr
    table = done.stdout.splitlines()
    assert table[0].split()[:3] == ["#", "step", "taken"]
    assert "the run's own INT8" in table[1]
    assert "p50" not in table[0]
    assert "The goal is met (an SQNR of at least 55 dB)" in done.stdout
    assert "Tuned on 30 of 60 samples" in done.stdout
    assert "tensorrt cannot be timed here" in done.stdout
    tuned = run.with_name("run-tuned")
    assert steps_of(tuned)[0]["stage"] == "default"
    page = (tuned / "report.html").read_text()
    assert "How it was tuned" in page
    assert "in a simulation of its INT8" in page
    assert not (tuned / ".tuning").exists()
    assert not (tuned / "comparison.json").exists()


def test_a_goal_out_of_reach_exits_as_a_missed_gate_does(invoked: Quantkit, run: Path, calibrated: Path) -> None:
    done = invoked("tune", run, "--data", calibrated / "imgs", *FAST, "--min-sqnr", 250, "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert not document["met"]
    assert document["obstacle"]
    assert len(document["steps"]) > 2
    assert (run.with_name("run-tuned") / "calibration.json").is_file()  # the best that was found


def test_a_search_without_time_says_what_it_left_out(invoked: Quantkit, run: Path, calibrated: Path) -> None:
    done = invoked("tune", run, "--data", calibrated / "imgs", *FAST, "--min-sqnr", 250, "--budget", "0.001s")
    assert done.returncode == 1
    assert "The goal is not met, because the time was up" in done.stdout
    for stage in ("ranges", "biases", "layers in floating point"):
        assert f"There was no time left for {stage}" in done.stdout
    assert len(steps_of(run.with_name("run-tuned"))) == 1


def test_without_labels_agreement_is_the_goal(invoked: Quantkit, run: Path, calibrated: Path, tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    for image in (calibrated / "imgs").rglob("*.png"):
        shutil.copy(image, tmp_path / "flat" / f"{image.parent.name}-{image.name}")
    done = invoked("tune", run, "--data", "flat", *FAST, "--max-drop", 0.5)
    assert done.returncode == 0, done.stderr
    assert "agreement of at least 99.5 %" in done.stdout  # as much as 0.5 points could be of
    assert "no labels" in done.stdout
    assert "the result is the same" in done.stdout
    assert "drop" not in done.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--max-drop", "1", "--min-sqnr", "30"], "max_drop and min_sqnr are two goals"),
        (["--max-drop", "-1"], "max_drop -1 makes no sense"),
        (["--max-drop", "nan"], "max_drop nan makes no sense"),
        (["--min-agreement", "120"], "min_agreement 120 makes no sense"),
        (["--max-slowdown", "-3"], "max_slowdown -3 makes no sense"),
        (["--within", "2%"], "The goal within '2%' is not understood"),
        (["--budget", "soon"], "The budget 'soon' is no time"),
        (["--budget", "0"], "The budget '0' is no time"),
        (["--target", "nobody"], "There is no target 'nobody'"),
        (["--samples", "49"], "are too few to tune on a half of them"),
        (["--data", "nowhere"], "There is no file or folder"),
        (["-o", "run"], "is the run that is tuned"),
    ],
)
def test_bad_input_is_an_error_with_a_way_out(
    invoked: Quantkit, run: Path, calibrated: Path, options: list[str], what: str
) -> None:
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    done = invoked("tune", "run", "--data", calibrated / "imgs", *options)
    assert done.returncode == 2
    error, hint = done.stderr[done.stderr.index("Error:") :].strip().split("\n", 1)
    assert what in error
    assert error.endswith(".")
    assert hint.strip()
    assert done.stdout == ""
    assert not run.with_name("run-tuned").exists()
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


def test_an_interrupted_search_goes_on_with_what_it_measured(
    invoked: Quantkit, run: Path, calibrated: Path, tmp_path: Path
) -> None:
    command = ["tune", "run", "--data", str(calibrated / "imgs"), "--target", "onnxruntime", "--min-sqnr", "250"]
    words = [sys.executable, "-m", "quantkit", *command]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("QUANTKIT_")}
    figures = run.with_name("run-tuned") / ".tuning" / "measured.json"
    with subprocess.Popen(words, cwd=tmp_path, env=clean, stderr=subprocess.PIPE, text=True) as process:
        give_up = time.monotonic() + 120
        while not (figures.is_file() and len(json.loads(figures.read_text())) >= 2):
            assert process.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    before = list(json.loads(figures.read_text()).values())
    done = invoked(*command)
    assert done.returncode == 1, done.stderr
    after = [step["figures"] for step in steps_of(run.with_name("run-tuned"))]
    assert len(after) > len(before)
    assert all(own in after for own in before)  # to the bit, latencies too


def test_the_same_seed_chooses_the_same(invoked: Quantkit, run: Path, calibrated: Path) -> None:
    found = []
    for name in ("a", "b"):
        command = ("tune", run, "--data", calibrated / "imgs", *FAST, "--min-sqnr", 250, "--seed", 3, "-o", name)
        document = json.loads(invoked(*command, "--json").stdout)
        steps = [{key: own for key, own in step.items() if key != "seconds"} for step in document["steps"]]
        found.append((steps, document["chosen"], document["exclude"], document["ranges"], document["seed"]))
    assert found[0] == found[1]
    a, b = (qk.load_calibration(run.with_name(name)) for name in ("a", "b"))
    assert qk.Recipe.of(a).digest(True) == qk.Recipe.of(b).digest(True)


def test_other_verbs_take_a_tuned_run(invoked: Quantkit, own: Path, run: Path, calibrated: Path) -> None:
    compared = ("--data", calibrated / "imgs", "--target", "onnxruntime", "--precision", "int8", "--rounds", 2)
    done = invoked("compare", own, *compared, "--method", "mse-robust", "--method", "tuned", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [row["variant"] for row in document["rows"]] == ["", "tuned", "mse-robust"]
    assert document["samples"] == 30
    assert "The run was tuned on 30 of these samples, which are left out." in document["warnings"]
    assert document["rows"][1]["sqnr_db"] > document["rows"][2]["sqnr_db"]
    assert invoked("compare", run, *compared).returncode == 0
    for command in (["inspect", own], ["export", own], ["gate", own, "--min-agreement", "1"], ["report", run, own]):
        done = invoked(*command)
        assert done.returncode == 0, done.stderr


def test_the_report_says_how_to_make_it_again(own: Path, calibrated: Path) -> None:
    calibration = qk.load_calibration(own)
    first, second, third = map(shlex.split, reproduce(calibration, qk.load_comparison(own), load_tuning(own)))
    assert first[first.index("--method") + 1] == "mse-robust"
    assert "--exclude" not in first
    assert second[:3] == ["quantkit", "tune", "again"]
    assert second[second.index("--min-sqnr") + 1] == "52.5"
    assert second[-4:] == ["--device", "CPU", "-o", "again-tuned"]
    assert third[2] == "again-tuned"
    assert third[third.index("--samples") + 1] == "60"  # of which 30 are left out again


@pytest.mark.parametrize("method", ["minmax", "mse-robust"])  # another one, and what was there before tuning
def test_a_method_replaces_a_tuned_calibration(invoked: Quantkit, own: Path, method: str) -> None:
    assert (own / "biases.npz").is_file()
    done = invoked("calibrate", "--method", method, "-o", own, "--no-export")
    assert done.returncode == 0, done.stderr
    assert "no image is read" in done.stderr
    found = qk.load_calibration(own)
    assert (found.method, found.tuned, found.biases) == (method, None, {})
    assert not (own / "tune.json").exists()
    assert not (own / "biases.npz").exists()
    assert (own / "methods/tuned/tune.json").is_file()
    assert invoked("report", own).returncode == 0
    assert "How it was tuned" not in (own / "report.html").read_text()


def test_biases_that_are_all_that_was_tuned_go_too(invoked: Quantkit, own: Path) -> None:
    tuned = qk.load_calibration(own)
    before = tuned.by_method("mse-robust")
    save_calibration(tuned.model_copy(update={"tensors": before.tensors, "exclude": before.exclude}), own)
    assert invoked("calibrate", "--method", "mse-robust", "-o", own, "--no-export").returncode == 0
    found = qk.load_calibration(own)
    assert (found.method, found.tuned, found.biases) == ("mse-robust", None, {})
    assert not (own / "biases.npz").exists()


def test_what_a_recommendation_names_is_a_command_that_works(invoked: Quantkit, run: Path, calibrated: Path) -> None:
    compared = ("--target", "onnxruntime", "--precision", "int8", "--rounds", 2)
    assert invoked("compare", run, "--data", calibrated / "imgs", *compared).returncode == 0
    comparison = qk.load_comparison(run)
    command = shlex.split(tune_command(comparison.rows[-1], comparison).strip("`"))
    assert command[:3] == ["quantkit", "tune", str(run)]
    done = invoked(*command[1:], "--min-sqnr", 20)
    assert done.returncode == 0, done.stderr
    assert json.loads((run.with_name("run-tuned") / "tune.json").read_text())["target"] == "onnxruntime"


def test_a_damaged_record_is_a_warning(invoked: Quantkit, own: Path) -> None:
    (own / "tune.json").write_text("{")
    done = invoked("report", own)
    assert done.returncode == 0
    assert "does not tell how the run was tuned" in done.stderr
    assert "How it was tuned" not in (own / "report.html").read_text()


@pytest.mark.parametrize(("target", "goal", "code"), [("onnxruntime", 20, 0), ("tensorrt", 250, 1)])
def test_run_tunes_where_the_configuration_says_so(
    invoked: Quantkit, calibrated: Path, tmp_path: Path, target: str, goal: int, code: int
) -> None:
    (tmp_path / "quantkit.toml").write_text(f"""
        [model]
        path = "{calibrated / "m.onnx"}"
        [data]
        calibration = "{calibrated / "imgs"}"
        evaluation = "{calibrated / "imgs"}"
        [compare]
        targets = ["onnxruntime"]
        precisions = ["int8"]
        rounds = 2
        [tune]
        target = "{target}"
        min_sqnr = {goal}
        [[gate]]
        metric = "agreement"
        min = 0.01
    """)
    done = invoked("run", "-o", "out", "--json")
    assert done.returncode == code, done.stderr
    document = json.loads(done.stdout)
    assert (document["passed"], document["exit_code"], document["tuning"]["met"]) == (True, code, code == 0)
    assert (tmp_path / "out/tuned/tune.json").is_file()
    judged = Path("out/tuned") if target == "onnxruntime" else Path("out")
    assert Path(document["run"]) == judged
    assert (tmp_path / judged / "gate.json").is_file()


def test_the_folders_configuration_says_what_to_tune_for(
    invoked: Quantkit, run: Path, calibrated: Path, tmp_path: Path
) -> None:
    (tmp_path / "quantkit.toml").write_text('[tune]\ntarget = "tensorrt"\nmin_sqnr = 250\nbudget = "0.001s"\n')
    command = ("tune", run, "--data", calibrated / "imgs")
    assert json.loads(invoked(*command, "--json").stdout)["goal"]["bound"] == 250
    again = json.loads(invoked(*command, "--min-agreement", "50", "--json").stdout)  # replaces that of the file
    assert (again["goal"]["kind"], again["goal"]["bound"], again["target"]) == ("agreement", 0.5, "tensorrt")
