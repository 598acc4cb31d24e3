"""The Python API: models in memory, functions of one's own, paths for objects, short reprs, a bar in a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import pytest

import quantkit as qk
from quantkit.core.errors import BadConfig, BadModel
from quantkit.core.progress import silent
from quantkit.core.progress_bar import shown_or_silent
from tests.conftest import Quantkit
from tests.terminal import on_a_terminal


def half_of_the_largest(histogram: qk.Histogram) -> qk.TensorRange:
    return qk.TensorRange.symmetric(histogram.maximum / 2, histogram.minimum, histogram.maximum)


def test_a_model_in_memory(model_path: Path, images: Path, tmp_path: Path) -> None:
    model = onnx.load(model_path)
    named, held = qk.calibrate(model_path, images), qk.calibrate(model, images)
    assert {n: t.amax for n, t in held.tensors.items()} == {n: t.amax for n, t in named.tensors.items()}
    assert Path(held.model.path).is_file()
    kept = qk.calibrate(model, images, output=tmp_path / "run")
    assert Path(kept.model.path).is_relative_to(tmp_path / "run")  # the run is whole without the program
    assert qk.export(kept, "onnxruntime")[0].path.is_file()
    assert qk.check(model, "onnxruntime")["onnxruntime"]
    int8 = onnx.load(qk.export(kept, "tensorrt", output=tmp_path / "trt")[0].path)
    assert isinstance(qk.lint(int8), list)
    assert model == onnx.load(model_path)


def test_what_is_no_model(model_path: Path, images: Path) -> None:
    with pytest.raises(BadModel, match="int is no ONNX model"):
        qk.calibrate(3, images)
    model = onnx.load(model_path)
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(BadModel, match="files of their own"):
        qk.calibrate(model, images)


def test_a_function_is_a_calibrator(model_path: Path, images: Path) -> None:
    found = qk.calibrate(model_path, images, method=half_of_the_largest)
    assert found.method == f"{__name__}:half_of_the_largest"
    tensor = found.tensors["input"]
    assert tensor.amax == pytest.approx(found.histograms["input"].maximum / 2)
    with pytest.raises(BadConfig, match="no name of its own"):
        qk.calibrate(model_path, images, method=lambda histogram: half_of_the_largest(histogram))


def test_references_on_the_command_line(invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from quantkit import TensorRange\n"
        "def half(h): return TensorRange.symmetric(h.maximum / 2, h.minimum, h.maximum)\n"
        "from quantkit.tasks.fidelity import Fidelity as Own\n"
    )
    words = ("calibrate", model_path, "--data", images, "-o", "run")
    assert invoked(*words, "--method", "mine.py:half").returncode == 0
    assert qk.load_calibration(tmp_path / "run").method == "mine.py:half"
    again = invoked("calibrate", "-o", "run")  # somebody else's run must not have code called
    assert again.returncode == 2
    assert "not called because a run names it" in again.stderr
    assert invoked("calibrate", "-o", "run", "--method", "minmax").returncode == 0
    for wrong in ("mine.py:none", "nowhere.py:half", "mine:"):
        assert invoked(*words, "--method", wrong).returncode == 2
    fast = ("--target", "onnxruntime", "--rounds", "1", "--seconds", "0.05")
    done = invoked("compare", "run", "--data", images, "--task", "mine.py:Own", *fast)
    assert done.returncode == 0, done.stderr


def test_a_run_directory_stands_for_its_objects(model_path: Path, images: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    qk.calibrate(model_path, images, output=run)
    assert qk.export(run, "onnxruntime")
    compared = qk.compare(run, images, targets="onnxruntime", rounds=1, seconds=0.05)
    assert qk.sensitivity(run, samples=5, target="onnxruntime").layers
    assert qk.report(run, tmp_path / "a.html", calibration=run).is_file()
    assert qk.show(run)
    assert qk.gate(run, [qk.Rule(metric="agreement", min=0.1)]).passed
    with pytest.raises(qk.BadConfig, match="dict is no gate rule"):
        qk.gate(run, [{"metric": "agreement", "min": 0.1}])  # type: ignore[list-item]
    with pytest.raises(qk.BadRun, match="nothing"):
        qk.gate(run, [qk.Rule(metric="agreement", min=0.1)], tmp_path / "nothing")
    for one in (compared, compared.rows[0], compared.recommendation, qk.load_calibration(run)):
        assert len(str(one)) < 300, str(one)[:400]
        assert str(one) == repr(one)


def test_a_bar_where_somebody_looks(model_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown_or_silent(None) is silent  # not in a terminal here
    code = f"import quantkit; quantkit.calibrate({str(model_path)!r}, {str(images)!r})"
    status, shown = on_a_terminal([sys.executable, "-c", code], model_path.parent)
    assert status == 0
    assert "calibrating" in shown
