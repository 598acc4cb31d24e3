"""The commands that make a run again, and the clocks."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from quantkit.core.calibration import DataRef, ModelRef
from quantkit.core.comparison import GpuLoad
from quantkit.pipeline.run_files import load_calibration, load_comparison, run_config
from quantkit.reports.content.commands import clocks, reproduce
from tests.conftest import Quantkit
from tests.reports.builders import HOSTILE, SHA, calibration, comparison, reference_row, row


def test_hostile_names_are_one_word_each(tmp_path: Path) -> None:
    name = "/a b'; rm -rf $HOME `id`\n" + HOSTILE[0]
    folder = tmp_path / "it's a run"
    folder.mkdir()
    (folder / "quantkit.toml").touch()
    found = calibration(
        model=ModelRef(path=name, sha256=SHA),
        data=DataRef(path=name, sha256=SHA, skipped={"x.png": "not an image"}),
        exclude=(name,),
        folder=folder,
    )
    first, second = reproduce(found, comparison(reference_row(), row(batch=8), data=name))
    words = shlex.split(first)
    assert words[:3] == ["quantkit", "calibrate", name]
    assert words[words.index("-c") + 1] == str(folder / "quantkit.toml")
    assert words[words.index("--samples") + 1] == "101"  # one could not be read
    assert words[words.index("--exclude") + 1] == name
    words = shlex.split(second)
    assert words[:5] == ["quantkit", "compare", "again", "--data", name]
    assert words[words.index("--task") + 1] == "classification"
    assert [words[i + 1] for i, word in enumerate(words) if word == "--batch-size"] == ["1", "8"]


def test_nothing_is_made_up() -> None:
    assert reproduce(calibration(), comparison()) == []  # in memory only: no file holds its settings
    assert clocks(comparison().rows) == []
    gpu = GpuLoad(memory_bytes=1, sm_clock_mhz=1980, temperature_c=54)
    assert clocks([reference_row(), row(gpu=gpu, batch=8)]) == ["openvino INT8, batch 8: SM 1,980 MHz, 54 °C"]


@pytest.mark.slow
def test_they_make_the_run_again(invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path) -> None:
    run = tmp_path / "first run"
    made = ("--samples", "12", "--seed", "3", "--method", "percentile", "--percentile", "99.9", "--no-export")
    assert invoked("calibrate", model_path, "--data", images, "-o", run, *made).returncode == 0
    common = ("--target", "onnxruntime", "--precision", "int8", "--no-thumbnails")
    assert invoked("compare", run, "--data", images, "--samples", "9", *common).returncode == 0
    assert run_config(run).report.thumbnails is False  # no later report of the run shows them either
    first = load_calibration(run)
    for command in reproduce(first, load_comparison(run)):
        done = invoked(*shlex.split(command)[1:])
        assert done.returncode == 0, done.stderr
    again = load_calibration(tmp_path / "again")
    assert again.ranges == first.ranges
    documents = [json.loads((folder / "comparison.json").read_text()) for folder in (run, tmp_path / "again")]
    assert documents[0]["data_sha256"] == documents[1]["data_sha256"]
    answers = [[(r["precision"], r["agreement"], r["metrics"]) for r in document["rows"]] for document in documents]
    assert answers[0] == answers[1]
    shown = (run / "report.html").read_text()
    assert "quantkit calibrate" in shown and "--percentile" not in shown  # that is in quantkit.toml
    chart = invoked("report", run, "--chart", "scatter.svg")
    assert chart.stdout.splitlines()[0] == "scatter.svg"
    assert (tmp_path / "scatter.svg").read_text().startswith("<?xml")
    refused = invoked("report", run, "--chart", "scatter.pdf")
    assert refused.returncode == 2
    assert "scatter.pdf" in refused.stderr and ".svg or .png" in refused.stderr
    (run / "comparison.json").unlink()
    assert "not compared yet" in invoked("report", run, "--chart", "scatter.png").stderr
