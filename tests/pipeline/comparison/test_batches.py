"""``quantkit compare`` at several batch sizes."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

import quantkit as qk
from quantkit.core.errors import BadInput
from tests.conftest import Quantkit, tiny_model


def test_each_batch_size_has_a_row_for_each_precision(model_path: Path, images: Path) -> None:
    calibration = qk.calibrate(model_path, images)
    comparison = qk.compare(
        calibration, images, targets=["onnxruntime"], precisions=["fp32", "int8"], batch_sizes=[1, 4, 1, 16]
    )
    assert [(row.batch, row.precision) for row in comparison.rows] == [
        (batch, precision) for batch in (1, 4, 16) for precision in ("fp32", "int8")
    ]
    by = {(row.batch, row.precision): row for row in comparison.rows}
    for batch in (1, 4, 16):
        fp32, int8 = by[batch, "fp32"], by[batch, "int8"]
        assert fp32.speedup == 1
        assert int8.speedup == fp32.latency_ms.p50 / int8.latency_ms.p50
        # Throughput counts samples. No mean is less than nine tenths of the tenth percentile.
        assert batch / fp32.throughput * 1e3 >= 0.9 * fp32.latency_ms.p10
        # What is not about time is measured once.
        for row, first in ((fp32, by[1, "fp32"]), (int8, by[1, "int8"])):
            assert (row.metrics, row.agreement, row.sqnr_db) == (first.metrics, first.agreement, first.sqnr_db)
        assert int8.latency_with_copies_ms is None
        assert int8.gpu is None
        assert int8.layers == ()
    assert by[16, "fp32"].latency_ms.p50 > by[1, "fp32"].latency_ms.p50
    assert by[16, "fp32"].device == "CPU"  # the target's first


def test_a_fixed_batch_is_measured_at_its_own_size_and_said(images: Path, tmp_path: Path) -> None:
    onnx.save(tiny_model(batch=4), tmp_path / "fixed.onnx")
    calibration = qk.calibrate(tmp_path / "fixed.onnx", images)
    chosen = {"targets": ["onnxruntime"], "precisions": ["int8"]}
    comparison = qk.compare(calibration, images, batch_sizes=[1, 8], **chosen)  # type: ignore[arg-type]
    assert [row.batch for row in comparison.rows] == [4, 4]
    assert any("fixed at 4" in warning for warning in comparison.warnings)
    quiet = qk.compare(calibration, images, batch_sizes=[1, 4], **chosen)  # type: ignore[arg-type]
    assert not any("fixed at 4" in warning for warning in quiet.warnings)


@pytest.mark.parametrize("sizes", [[], [0], [1, -2]])
def test_sizes_that_are_none(model_path: Path, images: Path, sizes: list[int]) -> None:
    with pytest.raises(BadInput, match="batch_sizes"):
        qk.compare(qk.calibrate(model_path, images), images, batch_sizes=sizes)


def test_on_the_command_line_and_in_the_environment(invoked: Quantkit, model_path: Path, images: Path) -> None:
    qk.calibrate(model_path, images, output=model_path.parent / "run")
    common = ("compare", "run", "--data", images, "--target", "onnxruntime", "--precision", "fp32", "--json")
    for options, environment, sizes in (
        (("--batch-size", "2", "--batch-size", "8"), {}, [2, 8]),
        ((), {"QUANTKIT_LATENCY_BATCH": "3, 5"}, [3, 5]),
        (("--batch-size", "2"), {"QUANTKIT_LATENCY_BATCH": "3,5"}, [2]),
    ):
        done = invoked(*common, *options, **environment)
        assert done.returncode == 0, done.stderr
        assert [row["batch"] for row in json.loads(done.stdout)["rows"]] == sizes
    wrong = invoked(*common, QUANTKIT_LATENCY_BATCH="3,x")
    assert wrong.returncode == 2
    assert "QUANTKIT_LATENCY_BATCH" in wrong.stderr
