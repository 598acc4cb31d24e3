"""The report's table: figures first, nothing that says nothing, and no FP16 that is none."""

from __future__ import annotations

import pytest

from quantkit.core.comparison import GpuLoad, Latency, LayerTime, OutputError
from quantkit.core.ranges import TensorRange
from quantkit.reports.content.layer_times import breakdowns
from quantkit.reports.content.measurements import is_half_by_name_only, measurements
from quantkit.reports.content.tensors import tensor_entries
from tests.reports.builders import calibration, comparison, page, reference_row, row


def names(*rows: object) -> list[str]:
    return [column.name for column in measurements(comparison(*rows)).columns]  # type: ignore[arg-type]


def test_figures_come_first_and_prose_last() -> None:
    assert names()[:6] == ["model", "main", "lost", "p50", "speedup", "agreement"]
    assert names()[-2:] == ["size", "ran"]


def test_what_is_the_same_everywhere_is_a_sentence_and_what_is_nowhere_is_nothing() -> None:
    same = reference_row(agreement=1.0), row(agreement=1.0)
    table = measurements(comparison(*same))
    assert "agreement" not in [column.name for column in table.columns]
    assert table.same == ("Agree 100 %",)
    assert "The same in every row: Agree 100 %." in page(None, comparison(*same)).words
    bare = [r.model_copy(update={"agreement": None, "outputs": ()}) for r in (reference_row(),)]
    assert "sqnr" in [
        column.name for column in measurements(comparison(*bare)).columns
    ]  # of one row, nothing is left out


def test_percentiles_and_the_gpu_stand_in_one_column_each() -> None:
    gpu = GpuLoad(memory_bytes=300 << 20, sm_clock_mhz=1980, power_w=210.0)
    table = measurements(comparison(reference_row(), row(gpu=gpu)))
    cells = {column.name: column.cell(table.rows[1]) for column in table.columns}
    assert (cells["p50"].text, cells["p50"].detail) == ("2.00", "2.40 · 3.00")
    assert (cells["memory"].text, cells["memory"].detail) == ("300", "210 · 1,980 MHz")


@pytest.mark.parametrize(
    ("executed", "folded"),
    [("f32", True), ("f32 12, i64 1", True), ("f16 12, f32 1", False), ("bf16", False), ("", False)],
)
def test_fp16_that_computes_in_fp32_is_folded_away(executed: str, folded: bool) -> None:
    half = row("fp16", executed_precision=executed, latency_ms=Latency(p10=4, p50=5, p90=6, p99=7))
    assert is_half_by_name_only(half) == folded
    compared = comparison(reference_row(), half, row(top1=0.91))
    assert measurements(compared).folded == ((half,) if folded else ())
    shown = page(None, compared)
    assert ("FP16 of openvino computes in FP32 here" in shown.words) == folded
    assert "openvino FP16" in shown.words  # one click away


def test_what_is_to_be_shipped_is_never_folded() -> None:
    assert measurements(comparison(reference_row(), row("fp16", executed_precision="f32"))).folded == ()


@pytest.mark.parametrize(("ms", "shown"), [(0.5, True), (3.0, False)])
def test_a_sum_of_layer_times_is_never_above_the_latency_beside_it(ms: float, shown: bool) -> None:
    """The row takes 2 ms."""
    timed = row(layers=(LayerTime(name="conv", precision="int8", ms=ms),))
    assert breakdowns([timed])[0].adds_up == shown
    words = page(None, comparison(reference_row(), timed)).words
    assert (f"{ms:.3f} of 2.000 ms in all" in words) == (f"{ms:.4f}" in words) == shown
    assert ("only their shares are shown" in words) != shown


def test_the_clipped_share_is_that_of_the_line_in_the_histogram() -> None:
    """Of a range that reaches further to one side, the share beyond low and high is another."""
    calibrated = calibration(["x"])
    tensor = calibrated.tensors["x"]
    lopsided = TensorRange(2.0, -1.0, 2.0)
    changed = tensor.model_copy(update={"amax": 2.0, "low": -1.0, "high": 2.0, "candidates": {"entropy": lopsided}})
    entry = tensor_entries(calibrated.model_copy(update={"tensors": {"x": changed}}))[0]
    counts = calibrated.histograms["x"]
    beyond = counts.absolute[int(2.0 / counts.width) + 1 :].sum() / counts.total
    assert entry.clipped == pytest.approx(beyond, abs=1e-3)
    assert entry.chart is not None and entry.chart["lines"][0][2] == 2.0
    (found,) = entry.ranges
    assert found.clipped == entry.clipped
    assert found.clipped_affine is not None and found.clipped_affine > 0.1 > 2 * entry.clipped


def test_the_shape_of_all_rows_is_said_once_and_the_name_of_a_part_is_left_to_its_own_table() -> None:
    parts = (OutputError(output="y", sqnr_db=30.0), OutputError(output="y", part="/model.22/boxes", sqnr_db=19.0))
    shaped = reference_row(shape="images=1x3x320x320"), row(shape="images=1x3x320x320", outputs=parts, sqnr_db=30.0)
    table = measurements(comparison(*shaped))
    cells = {column.name: column.cell(table.rows[1]) for column in table.columns}
    assert (cells["model"].detail, cells["sqnr"].detail) == ("entropy", "part 19.0")
    assert "Latency is of one inference at images=1x3x320x320;" in page(None, comparison(*shaped)).words
    two = measurements(comparison(*shaped, row(batch=8)))
    assert two.columns[0].cell(two.rows[2]).detail == "entropy, batch 8"
