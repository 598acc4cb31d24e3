"""A task from someone else's installed package: its metrics are everywhere that top-1 is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import quantkit
from quantkit.core.errors import BadConfig, BadData
from quantkit.tasks import task_named
from tests.conftest import Quantkit
from tests.packages import Install

REGRESSION = '''
import numpy as np
from quantkit.core.errors import BadData
from quantkit.tasks import Caption, Metric, Result, Task
from quantkit.tasks.sample_scores import SampleScores

class Regression(Task):
    """An annotation is the number that the model should answer."""

    name = "my_regression"
    metrics = (Metric(name="mae", title="mean absolute error", better="lower", interval=True, hint="Mean |error|"),)

    def decode(self, outputs):
        return next(iter(outputs.values())).reshape(-1)

    def scorer(self):
        return Score(self.metrics)

    def check(self, outputs, dataset):
        if any(isinstance(one, str) for one in dataset.annotations):
            raise BadData("An annotation is no number.", "Give numbers.")

    def keep(self, answers):
        return {"answers": answers}

    def keep_annotations(self, annotations):
        return np.array([np.nan if one is None else one for one in annotations])

    def agree(self, first, second):
        return np.isclose(first["answers"], second["answers"], atol=1e-3)

    def right(self, kept, annotations):
        return np.isclose(kept["answers"], annotations, atol=0.02)

    def annotated(self, annotations):
        return ~np.isnan(annotations)

    def caption(self, kept, sample, classes):
        return Caption(f"{kept['answers'][sample]:.3f}")

    def annotation_caption(self, annotations, sample, classes):
        return f"{annotations[sample]:.3f} wanted"

class Score:
    def __init__(self, metrics):
        self.scores = SampleScores(metrics)

    def update(self, answers, reference, annotations):
        if annotations is not None:
            wanted = np.array([np.nan if one is None else one for one in annotations])
            self.scores.update({"mae": abs(answers - wanted)}, {"mae": abs(reference - wanted)})

    def result(self):
        return Result(self.scores.metrics(), self.scores.changes())
'''
RNG = np.random.default_rng(11)
X = RNG.normal(size=(150, 16)).astype(np.float32)
WEIGHT = RNG.normal(size=(16, 1)).astype(np.float32) / 4
Y = (np.maximum(X, 0) @ WEIGHT)[:, 0].astype(np.float64)
GATE = """
[[gate]]
metric = "metrics.mae.value"
max = {most}

[[gate]]
metric = "drop.mae"
max = 0.5
statistic = "pessimistic"
"""


@pytest.fixture
def regression(install: Install, tmp_path: Path) -> Path:
    """The task, a model for it and its data; the folder they lie in."""
    install("regression_task", REGRESSION, "quantkit.tasks", my_regression="Regression")
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node("MatMul", ["r", "one"], ["s"]),
            helper.make_node("MatMul", ["s", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(np.eye(16, dtype=np.float32), "one"), numpy_helper.from_array(WEIGHT, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
    np.savez(tmp_path / "data.npz", x=X, labels=Y)
    return tmp_path


def test_its_metrics_stand_in_table_report_record_and_gate(regression: Path, invoked: Quantkit) -> None:
    assert invoked("calibrate", "m.onnx", "--data", "data.npz", "-o", "out", "--no-export").returncode == 0
    settings = '[data]\nevaluation = "data.npz"\n[task]\nname = "my_regression"\n[compare]\ntargets = ["onnxruntime"]\n'
    (regression / "task.toml").write_text(settings)
    done = invoked("compare", "out", "-c", "task.toml")
    assert done.returncode == 0, done.stderr
    assert "Mean absolute error" in done.stdout
    record = json.loads((regression / "out" / "comparison.json").read_text())
    assert (record["task"], record["labelled"]) == ("my_regression", 150)
    assert record["metrics"][0]["name"] == "mae"
    fp32, int8 = (next(row for row in record["rows"] if row["precision"] == name) for name in ("fp32", "int8"))
    assert fp32["metrics"]["mae"]["value"] == pytest.approx(0, abs=1e-6)
    assert int8["drop"]["mae"] == pytest.approx(int8["metrics"]["mae"]["value"], abs=1e-6)  # lower is better
    assert int8["metrics"]["mae"]["low"] < int8["metrics"]["mae"]["value"] < int8["metrics"]["mae"]["high"]
    assert int8["changes"]["mae"]["p_value"] < 0.05
    page = (regression / "out" / "report.html").read_text()
    assert "mean absolute error" in page
    assert "wanted" in page  # the samples whose answers changed, in the task's own words
    for most, code in (("1.0", 0), ("1e-9", 1)):
        (regression / "gate.toml").write_text(GATE.format(most=most))
        judged = invoked("gate", "out", "--gates", "gate.toml")
        assert judged.returncode == code, judged.stdout + judged.stderr
        assert "Mean absolute error" in judged.stdout
    least = int8["drop"]["mae"]
    for most, code in ((2 * least, 0), (least / 2, 1)):  # in the metric's own unit, and not in points
        judged = invoked("gate", "out", "--max-drop", most)
        assert judged.returncode == code, judged.stdout + judged.stderr


def test_a_program_names_it_too(regression: Path) -> None:
    calibration = quantkit.calibrate(regression / "m.onnx", X)
    comparison = quantkit.compare(calibration, zip(X, Y, strict=True), task="my_regression", targets=["onnxruntime"])
    assert comparison.main_metric == "mae"
    assert comparison.metrics[0].title == "mean absolute error"


def test_what_it_says_of_the_annotations_is_heard(regression: Path) -> None:
    calibration = quantkit.calibrate(regression / "m.onnx", X)
    with pytest.raises(BadData, match="An annotation is no number"):
        quantkit.compare(calibration, [(X[0], "seven")], task="my_regression", targets=["onnxruntime"])


COUNTING = """
import numpy as np
from quantkit.tasks import Result, Task

class Counting(Task):
    name = "counting"
    metrics = ()

    def decode(self, outputs):
        return next(iter(outputs.values()))

    def scorer(self):
        return Nothing()

    def keep(self, answers):
        return {"count": np.full(len(answers), 700, np.int64)}

class Nothing:
    def update(self, answers, reference, annotations):
        pass

    def result(self):
        return Result()
"""


def test_whole_numbers_that_it_keeps_are_no_classes(
    install: Install, invoked: Quantkit, model_path: Path, images: Path
) -> None:
    install("counting_task", COUNTING, "quantkit.tasks", counting="Counting")
    assert invoked("calibrate", model_path, "--data", images, "-o", "out", "--no-export").returncode == 0
    done = invoked("compare", "out", "--data", images, "--task", "counting", "--target", "onnxruntime")
    assert done.returncode == 0, done.stderr
    assert invoked("report", "out").returncode == 0


def test_one_that_does_not_load_is_named(install: Install) -> None:
    install("broken_task", "raise RuntimeError('no licence')", "quantkit.tasks", broken="Broken")
    with pytest.raises(BadConfig, match=r"The task 'broken' \(broken_task:Broken\) does not load: no licence"):
        task_named("broken")
    with pytest.raises(BadConfig, match="There is no task 'nosuch'") as refused:
        task_named("nosuch")
    assert "auto, classification, " in refused.value.hint
    assert refused.value.hint.endswith(", broken.")
