"""A metric of the user's own, the one of docs/tasks.md among them, stands wherever top-1 does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantkit as package
from quantkit.core.errors import BadConfig, BadInput
from quantkit.core.figures import Metric
from quantkit.core.references import load_reference
from quantkit.tasks.fidelity import Fidelity
from quantkit.tasks.own_metric import OwnMetric
from quantkit.tasks.sample_scores import SampleScores
from tests.conftest import Quantkit

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tasks.md"


@pytest.mark.skipif(not PAGE.is_file(), reason="the docs are not here")
def test_the_ten_lines_of_the_docs_work_as_they_stand(
    invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path
) -> None:
    text = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (settings,) = (
        block for block in re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL) if "gate" in block
    )
    (file,) = set(re.findall(r"(\w+\.py):right_share", text))
    (tmp_path / file).write_text(code)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    common = (
        f'[model]\npath = "{model_path.name}"\n[data]\ncalibration = "{images.name}"\nevaluation = "{images.name}"\n'
    )
    (tmp_path / "quantkit.toml").write_text(common + '[compare]\ntargets = ["onnxruntime"]\n' + settings)

    done = invoked("run", "-o", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Right share" in done.stdout
    assert "Right share lost ≤ 1.00 points" in done.stdout  # the gate's line
    record = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [metric["name"] for metric in record["metrics"]] == ["top1", "top5", "right_share"]
    for row in record["rows"]:
        figure = row["metrics"]["right_share"]
        assert 0 < figure["low"] < figure["value"] < figure["high"] < 1
    assert record["rows"][-1]["changes"]["right_share"]
    assert "Right share" in (tmp_path / "out" / "report.html").read_text()
    assert "Right share" in (tmp_path / "out" / "summary.md").read_text()
    rules = json.loads((tmp_path / "out" / "gate.json").read_text())
    assert "drop.right_share" in json.dumps(rules)

    settings = settings.replace("0.01", "-0.9")  # no row is that much better than FP32
    (tmp_path / "gates.toml").write_text(settings)
    assert invoked("gate", "out", "--gates", "gates.toml").returncode == 1


def test_the_command_line_names_task_and_metric(
    invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(
        "def first(outputs, annotations):\n    return [scores[0] for scores in outputs]\n"
    )
    assert invoked("calibrate", model_path, "--data", images, "-o", "out", "--no-export").returncode == 0
    common = ("compare", "out", "--data", images, "--target", "onnxruntime", "--precision", "int8")
    done = invoked(*common, "--task", "none", "--metric", "mine.py:first", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["task"] == "none"
    assert [metric["name"] for metric in record["metrics"]] == [*(metric.name for metric in Fidelity.metrics), "first"]
    assert json.loads(invoked(*common, "--json").stdout)["task"] == "classification"  # as before: not remembered
    by_environment = invoked(*common, "--json", QUANTKIT_TASK="none", QUANTKIT_METRIC="mine.py:first")
    assert json.loads(by_environment.stdout)["metrics"] == record["metrics"]
    refused = invoked(*common, "--task", "nosuch")
    assert refused.returncode == 2
    assert "There is no task 'nosuch'" in refused.stderr


def test_what_a_run_names_is_not_called(model_path: Path, images: Path, tmp_path: Path, invoked: Quantkit) -> None:
    """A run may be somebody else's; what this folder's quantkit.toml or the command names is one's own."""
    code = tmp_path / "theirs.py"
    code.write_text(
        f"open({str(tmp_path / 'called')!r}, 'w')\ndef one(outputs, annotations): return [1.0] * len(outputs)\n"
    )
    run = tmp_path / "run"
    package.calibrate(model_path, images, output=run)
    settings = run / "quantkit.toml"
    named = settings.read_text().replace("metrics = []", f'metrics = ["{code}:one"]')
    settings.write_text(named.replace('name = "auto"', f'name = "{code}:one"'))
    fast = ("compare", run, "--data", images, "--target", "onnxruntime", "--rounds", "1", "--seconds", "0.05")
    done = invoked(*fast)
    assert done.returncode == 0, done.stderr
    assert "Not called, because the run alone names it" in done.stderr
    assert not (tmp_path / "called").exists()
    assert invoked(*fast, "--metric", f"{code}:one").returncode == 0
    assert (tmp_path / "called").exists()


def test_a_function_is_handed_over(model_path: Path, images: Path) -> None:
    def spread(outputs: list[np.ndarray], annotations: list[Any]) -> list[float]:
        return [float(scores.max() - scores.min()) for scores in outputs]

    spread.better = "lower"  # type: ignore[attr-defined]
    calibration = package.calibrate(model_path, images)
    compared = package.compare(calibration, images, targets=["onnxruntime"], metrics=[spread], task="none")
    assert [metric.name for metric in compared.metrics] == [*(metric.name for metric in Fidelity.metrics), "spread"]
    fp32, int8 = (next(row for row in compared.rows if row.precision == name) for name in ("fp32", "int8"))
    worse = int8.metrics["spread"].value - fp32.metrics["spread"].value
    assert int8.drop["spread"] == pytest.approx(worse)


def measured(function: Callable[..., Any]) -> Any:
    function.__name__ = "mine"
    outputs = {"a": np.ones((3, 2)), "b": np.zeros((3, 1))}
    return OwnMetric.of(function).values(outputs, [0, None, 2])


def test_several_outputs_come_by_name() -> None:
    assert measured(lambda outputs, _: [one["a"].sum() + one["b"].sum() for one in outputs]).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda outputs, annotations: 1 / 0, "failed with ZeroDivisionError: division by zero"),
        (lambda outputs, annotations: [1.0], r"returned shape \(1,\) for 3 samples"),
        (lambda outputs, annotations: "high", "failed with ValueError"),
    ],
)
def test_one_that_fails_is_named(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        measured(function)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("right_share", "names no metric"),
        ("nosuch.py:right_share", "does not load"),
        ("math:nosuch", "does not load"),
        ("math:pi", "is no function"),
    ],
)
def test_a_name_that_leads_nowhere_is_told(text: str, message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        OwnMetric.of(load_reference(text, "metric"))


def test_an_infinite_value_is_no_figure(model_path: Path, images: Path) -> None:
    calibration = package.calibrate(model_path, images)
    with pytest.raises(BadInput, match="is infinite for a sample"):
        package.compare(calibration, images, targets=["onnxruntime"], metrics=[endless])


def endless(outputs: list[Any], annotations: list[Any]) -> list[float]:
    return [np.inf for _ in outputs]


def test_a_sample_that_one_model_cannot_be_scored_on_is_left_out_of_the_drop() -> None:
    scores = SampleScores([Metric(name="hit", title="hit", unit="share"), Metric(name="size", title="size")])
    nan = np.nan
    scores.update({"hit": np.array([1.0, 1, nan, nan])}, {"hit": np.array([1.0, 1, 0, 0])})
    scores.update({"size": np.array([2.0, 4, 6])}, {"size": np.array([nan, 5.0, 7])})
    assert scores.metrics()["hit"].value == 1
    assert scores.drops() == {"hit": 0, "size": 1}
    assert scores.changes()["hit"].lost == scores.changes()["hit"].won == 0
    assert scores.changes()["size"].low == scores.changes()["size"].high == 1


def first(outputs: list[Any], annotations: list[Any]) -> list[float]:
    return [0.5 for _ in outputs]


@pytest.mark.parametrize("name", ["top1", "agreement", "first"])
def test_a_name_that_is_taken_is_refused(model_path: Path, images: Path, name: str) -> None:
    def own(outputs: list[Any], annotations: list[Any]) -> list[float]:
        return [0.5 for _ in outputs]

    own.__name__ = name
    calibration = package.calibrate(model_path, images)
    with pytest.raises(BadConfig, match=f"two metrics called '{name}'"):
        package.compare(calibration, images, targets=["onnxruntime"], metrics=[first, own])


@pytest.mark.parametrize(("attribute", "value"), [("unit", "furlong"), ("better", "up")])
def test_attributes_that_say_nothing_are_refused(attribute: str, value: str) -> None:
    def own(outputs: list[Any], annotations: list[Any]) -> list[float]:
        return [0.5 for _ in outputs]

    setattr(own, attribute, value)
    with pytest.raises(BadConfig, match=f"{attribute} = '{value}'"):
        OwnMetric.of(own)
    own.unit, own.better = "share", "higher"  # type: ignore[attr-defined]
    with pytest.raises(BadConfig, match="has no name"):
        OwnMetric.of(lambda outputs, annotations: [0.5])


def test_a_share_beyond_one_is_refused_before_the_long_run_ends() -> None:
    def own(outputs: list[Any], annotations: list[Any]) -> list[float]:
        return [3.0 for _ in outputs]

    own.unit = "share"  # type: ignore[attr-defined]
    with pytest.raises(BadInput, match="is a share, but returned 3"):
        OwnMetric.of(own).values({"y": np.ones((2, 1))}, [0, 1])


def test_a_function_is_called_once_for_each_candidate_and_sample(model_path: Path, images: Path) -> None:
    calls = []

    def own(outputs: list[Any], annotations: list[Any]) -> list[float]:
        calls.append(len(outputs))
        return [0.5 for _ in outputs]

    calibration = package.calibrate(model_path, images)
    compared = package.compare(calibration, images, targets="onnxruntime", metrics=own)
    assert sum(calls) == 18 * len(compared.rows)


def test_a_single_number_is_of_all_samples(model_path: Path, images: Path) -> None:
    def correlation(outputs: list[Any], annotations: list[Any]) -> float:
        return float(np.mean([scores[label] for scores, label in zip(outputs, annotations, strict=True)]))

    def never_one(outputs: list[Any], annotations: list[Any]) -> float:
        assert len(outputs) == 18
        return 0.5

    never_one.of_all = True  # type: ignore[attr-defined]
    calibration = package.calibrate(model_path, images)
    compared = package.compare(calibration, images, targets=["onnxruntime"], metrics=[correlation, never_one])
    fp32, int8 = (next(row for row in compared.rows if row.precision == name) for name in ("fp32", "int8"))
    assert fp32.metrics["correlation"].low is None
    assert fp32.metrics["never_one"].value == 0.5
    assert int8.drop["correlation"] == pytest.approx(
        fp32.metrics["correlation"].value - int8.metrics["correlation"].value
    )
    assert "correlation" not in int8.changes


def test_what_is_kept_for_it_is_bounded(model_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from quantkit.tasks import own_scores

    monkeypatch.setattr(own_scores, "MOST_KEPT", 20)
    calibration = package.calibrate(model_path, images)
    with pytest.raises(BadConfig, match="needs the outputs of all samples at once"):
        package.compare(calibration, images, targets=["onnxruntime"], metrics=[lone])


def lone(outputs: list[Any], annotations: list[Any]) -> float:
    return 0.5


def nowhere(outputs: list[Any], annotations: list[Any]) -> list[float]:
    return [np.nan for _ in outputs]


def test_nan_everywhere_is_an_error(model_path: Path, images: Path) -> None:
    calibration = package.calibrate(model_path, images)
    with pytest.raises(BadConfig, match="The metric 'nowhere' is NaN for every sample"):
        package.compare(calibration, images, targets=["onnxruntime"], metrics=[nowhere])
