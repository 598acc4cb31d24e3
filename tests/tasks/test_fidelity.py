"""The task "none": how close outputs stay to FP32's, whatever they mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import quantkit
from quantkit.tasks.fidelity import Fidelity, cosine, largest_error
from tests.conftest import Quantkit

A = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
B = np.array([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0], [1.0, 0.0]])


def test_cosine_is_that_of_the_angle() -> None:
    assert cosine(A, B).tolist() == [1, 0, 1, 0]
    opposed = cosine(A[:1], -A[:1])
    assert opposed.tolist() == [-1]
    halfway = cosine(np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]]))
    assert halfway[0] == pytest.approx(np.sqrt(0.5))


def test_the_largest_error_is_in_the_outputs_units() -> None:
    assert largest_error(A, B).tolist() == [0, 2, 0, 1]


def test_what_is_not_finite_is_as_far_off_as_can_be() -> None:
    bad = np.array([[np.nan, 1.0], [np.inf, 1.0]])
    good = np.array([[1.0, 1.0], [np.inf, 1.0]])
    assert cosine(good, bad)[0] == 0
    assert largest_error(good, bad).tolist() == [np.finfo(np.float32).max, 0]  # equal infinities are equal


def test_the_worst_output_of_a_sample_counts_and_integers_do_not() -> None:
    scorer = Fidelity().scorer()
    reference = {"a": A, "b": A, "count": np.arange(4)}
    own = {"a": A, "b": B, "count": np.arange(4) + 7}
    decoded = [Fidelity().decode(outputs) for outputs in (own, reference)]
    scorer.update(decoded[0], decoded[1], None)
    result = scorer.result()
    assert result.metrics["cosine"].value == pytest.approx(0.5)
    assert result.metrics["largest_error"].value == 2
    assert result.metrics["largest_error"].low is None  # the largest of a set has no interval
    assert result.changes == {}
    assert result.agreement is None


def test_outputs_that_are_no_numbers_with_a_point_have_no_answer() -> None:
    assert Fidelity().decode({"classes": np.arange(3)}) is None


def test_fp32_is_itself_and_int8_close(model_path: Path, images: Path, tmp_path: Path) -> None:
    calibration = quantkit.calibrate(model_path, images)
    comparison = quantkit.compare(calibration, images, targets=["onnxruntime"], task="none")
    assert comparison.task == "none"
    fp32, int8 = (next(row for row in comparison.rows if row.precision == name) for name in ("fp32", "int8"))
    assert fp32.metrics["cosine"].value == 1
    assert fp32.metrics["largest_error"].value == 0
    assert 0.95 < int8.metrics["cosine"].value < 1
    assert int8.agreement is None
    assert not int8.changes
    page = quantkit.report(comparison, tmp_path / "report.html").read_text()
    assert f"INT8 on onnxruntime has a cosine similarity of {int8.metrics['cosine'].value:.6g}" in page
    assert "Cosine similarity against latency" in page


def test_there_is_no_drop_to_gate(model_path: Path, images: Path, invoked: Quantkit) -> None:
    assert invoked("calibrate", model_path, "--data", images, "-o", "out", "--no-export").returncode == 0
    done = invoked("compare", "out", "--data", images, "--task", "none", "--target", "onnxruntime")
    assert done.returncode == 0, done.stderr
    refused = invoked("gate", "out", "--max-drop", "1")
    assert refused.returncode == 2
    assert "FP32 has no cosine similarity to fall from" in refused.stderr
