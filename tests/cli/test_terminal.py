"""What people see in a terminal: tables that fit, help by purpose, the log of a run, what may be meant."""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import quantkit as qk
from quantkit.cli import panels
from quantkit.cli.app import VERBS, command
from quantkit.cli.tables import fitting
from quantkit.config_files import load_config
from quantkit.core.run_log import LOG_FILE, RunLog
from tests.conftest import Quantkit
from tests.terminal import on_a_terminal

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def shown(words: Sequence[object], folder: Path, columns: int = 80) -> str:
    """Return what the command writes to a terminal."""
    return on_a_terminal([sys.executable, "-m", "quantkit", *map(str, words)], folder, columns)[1]


@pytest.fixture
def run(model_path: Path, images: Path) -> Path:
    folder = model_path.parent / "out"
    calibration = qk.calibrate(model_path, images, output=folder)
    compared = qk.compare(calibration, images, targets=["onnxruntime"], rounds=1, seconds=0.05)
    assert compared.rows
    return folder


def test_columns_are_left_out_before_cells_break() -> None:
    heads, rows = ["name", "a", "b", "c"], [["x" * 10, "1" * 5, "2" * 5, "3" * 5]]
    assert fitting(heads, rows, 100) == [0, 1, 2, 3]
    assert fitting(heads, rows, 31) == [0, 1, 2, 3]
    assert fitting(heads, rows, 30) == [0, 1, 2]  # the rightmost goes first
    assert fitting(heads, rows, 30, spare=("a",)) == [0, 2, 3]
    assert fitting(heads, rows, 3) == [0]  # the first stays
    assert fitting(heads, rows, 28, ("c",), {"a": 2}) == [0, 1, 2]  # a spare one goes before "a" folds
    assert fitting(heads, rows, 21, ("c",), {"a": 2}) == [0, 1, 2]


def test_a_table_fits_and_says_what_it_left_out(run: Path) -> None:
    narrow = ESCAPES.sub("", shown(["inspect", run], run.parent, 60))
    assert all(len(line) <= 60 for line in narrow.splitlines() if line.startswith(("tensor", "input", "conv")))
    assert "Left out for want of width: " in narrow
    assert "--wide" in narrow
    wide = ESCAPES.sub("", shown(["inspect", run, "--wide"], run.parent, 60))
    assert "max seen" in wide
    assert "Left out" not in wide


def test_colour_is_for_terminals_and_blanks_for_nobody(run: Path, invoked: Quantkit) -> None:
    words = ["gate", run, "--min-agreement", "50"]
    assert "\x1b[32mpass" in shown(words, run.parent, 120)
    piped = invoked(*words)
    assert "\x1b" not in piped.stdout + piped.stderr
    assert all(line == line.rstrip() for line in piped.stdout.splitlines())


def test_progress_leaves_one_line(run: Path, images: Path, model_path: Path) -> None:
    seen = shown(["calibrate", model_path, "--data", images, "-o", "another"], run.parent)
    assert "\x1b[2K" in seen  # rewritten
    assert re.search(r"\x1b\[1A\x1b\[2K[^━]*$", seen)  # nothing of the bar is left


def test_help_is_by_purpose() -> None:
    built = command()
    assert set(built.commands) == set(panels.PANEL_OF_VERB) == {verb.__name__ for verb in VERBS}
    for name, verb in built.commands.items():
        for option in verb.params:
            if option.param_type_name == "option":
                assert option.rich_help_panel in panels.OPTIONS, f"{name} {option.opts[0]}"


def test_the_version_in_short(invoked: Quantkit) -> None:
    assert invoked("-V").stdout == invoked("--version").stdout == f"quantkit {qk.__version__}\n"


def test_completion(quantkit: Quantkit) -> None:
    done = quantkit(_QUANTKIT_COMPLETE="complete_bash", COMP_WORDS="quantkit cal", COMP_CWORD="1")
    assert done.stdout.split() == ["calibrate"]
    assert "--show-completion" in quantkit("--help").stdout


def test_a_run_keeps_what_was_said(quantkit: Quantkit, model_path: Path, images: Path) -> None:
    assert quantkit("calibrate", model_path, "--data", images, "-o", "out", "-q").returncode == 0
    log = (model_path.parent / "out" / LOG_FILE).read_text(encoding="utf-8")
    assert f"quantkit calibrate {model_path}" in log.splitlines()[0]
    assert "Preprocessing: " in log  # said before the folder was known, and not shown with -q
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:]{8}[+-]\d{4} [A-Z]+ ", line) for line in log.splitlines())
    assert quantkit("compare", "out", "--data", "nowhere").returncode == 2
    assert "ERROR There is no file or folder" in (model_path.parent / "out" / LOG_FILE).read_text(encoding="utf-8")


def test_a_log_never_stands_in_the_way(tmp_path: Path) -> None:
    log = RunLog()
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / LOG_FILE).symlink_to(tmp_path / "elsewhere")
    log.open(tmp_path)
    log.open(tmp_path / "gone")
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_nothing_is_said_twice(invoked: Quantkit, model_path: Path, images: Path) -> None:
    done = invoked("run", model_path, "--data", images, "-o", "out")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(set(lines)), done.stderr
    assert "Nothing is judged, for there are no rules." in done.stderr
    assert "Accuracy is measured on the calibration data itself." in done.stderr


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("inspect", "tinny.onnx"), "tiny.onnx"),
        (("inspect", "oout"), "out"),
        (("compare", "outt", "--data", "imgs"), "out"),
        (("calibrate", "tiny.onnx", "--data", "img"), "imgs"),
        (("calibrate", "tiny.onnx", "--data", "imgs", "--method", "entropi"), "'entropy'"),
        (("compare", "out", "--data", "imgs", "--target", "openvin"), "'openvino'"),
        (("calibrate", "tiny.onnx", "--data", "imgs", "--preprocess", "imagnet"), "'imagenet'"),
        (("calibrate", "tiny.onnx", "--data", "imgs", "-c", "qantkit.toml"), "quantkit.toml"),
        (("calibrate", "tiny.onnx", "--data", "imgs", "--method", "ows.py:f"), "own.py"),
        (("gate", "out", "--gates", "quantkt.toml"), "quantkit.toml"),
        (("gate", "out", "--gates", "quantkit.toml", "--baseline", "ot"), "out"),
        (("compare", "out", "--data", "imgs", "--labels", "lables.csv"), "labels.csv"),
        (("compare", "out", "--data", "imgs", "--classes", "clases.txt"), "classes.txt"),
        (("compare", "out", "--data", "imgs", "--metric", "ows.py:f"), "own.py"),
        (("convert", "ouut", "--to", "cache"), "out"),
        (("merge", "ouut", "-o", "whole"), "out"),
    ],
)
def test_what_may_be_meant(run: Path, invoked: Quantkit, words: tuple[str, ...], meant: str) -> None:
    for name in ("quantkit.toml", "labels.csv", "classes.txt", "own.py"):
        (run.parent / name).touch()
    done = invoked(*words)
    assert done.returncode == 2
    assert re.search(rf"Did you mean \S*{re.escape(meant)}\?", done.stderr), done.stderr


def test_settings_of_the_folder_are_named_once(run: Path, invoked: Quantkit, model_path: Path, images: Path) -> None:
    calibrating = ("calibrate", model_path, "--data", images, "-o", "other", "--no-export")
    comparing = ("compare", "out", "--data", images, "--target", "onnxruntime", "--json")
    said = "Settings: quantkit.toml"
    assert "Settings: " not in invoked(*calibrating).stderr
    settings = run.parent / "quantkit.toml"
    settings.write_text("[calibrate]\nmethod = 'minmax'\n", encoding="utf-8")
    assert invoked(*calibrating, "-q").stderr == ""
    assert f"INFO {said}" in (run.parent / "other" / LOG_FILE).read_text(encoding="utf-8")
    assert invoked(*calibrating).stderr.splitlines().count(said) == 1
    assert "Settings: " not in invoked(*calibrating, "-c", settings).stderr
    assert "Settings: " not in invoked("compare", "out", "--dump-config").stderr  # it takes nothing of [calibrate]
    settings.write_text("[compare]\nrounds = 1\nseconds = 0.05\n", encoding="utf-8")
    done = invoked(*comparing)
    assert done.stderr.splitlines().count(said) == 1
    assert json.loads(done.stdout)["rows"]


def test_a_model_given_for_a_run(model_path: Path, invoked: Quantkit) -> None:
    done = invoked("compare", model_path, "--data", "imgs")
    assert done.returncode == 2
    assert "a run is wanted" in done.stderr
    assert f"quantkit calibrate {model_path}" in done.stderr


def test_init_writes_what_run_reads(invoked: Quantkit, model_path: Path, images: Path) -> None:
    done = invoked("init", "--data", images, "--eval-data", images)
    assert done.returncode == 0, done.stderr
    config = load_config(model_path.parent / "quantkit.toml")
    assert (config.model.path, config.data.evaluation) == (model_path, images)
    assert not config.gate
    again = invoked("init")
    assert again.returncode == 2
    assert "is there already" in again.stderr
    shown = invoked("run", "--dump-config")
    assert f'path = "{model_path}"' in shown.stdout


def test_the_starter_is_the_settings_page() -> None:
    root = Path(__file__).resolve().parents[2]
    page = root / "docs" / "configuration.md"
    if not page.is_file():
        pytest.skip("the docs are not here")
    (block,) = re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    import quantkit.cli.init as starter

    assert block == (Path(starter.__file__).parent / starter.TEMPLATE).read_text(encoding="utf-8")


def test_demo_write_only(invoked: Quantkit, tmp_path: Path) -> None:
    done = invoked("demo", "digits", "--write-only")
    assert done.returncode == 0, done.stderr
    written = {path.name for path in (tmp_path / "digits").iterdir()}
    assert written == {"imgs", "model.onnx", "quantkit.toml", "LICENSE-digits.md"}


def test_the_man_page_is_what_the_help_says() -> None:
    root = Path(__file__).resolve().parents[2]
    if not (root / "docs" / "man").is_dir():
        pytest.skip("the docs are not here")
    made = runpy.run_path(str(root / "scripts" / "make_man.py"))["page"]()
    assert made == (root / "docs" / "man" / "quantkit.1").read_text(encoding="utf-8")
    assert "\\[" not in made
