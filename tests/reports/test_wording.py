"""One sign for losses, words for keys, plurals."""

from __future__ import annotations

import pytest

from quantkit.core.comparison import Interval
from quantkit.core.figures import ROW_METRICS, Metric, path_title
from quantkit.reports import wording
from quantkit.reports.content.measurements import measurements
from quantkit.reports.content.verdict import judge
from quantkit.reports.difference_html import Run, difference_page
from quantkit.reports.markdown import markdown_summary
from tests.reports.builders import comparison, gated, page, reference_row, row

TOP1 = Metric(name="top1", title="top-1", unit="share")
MAE = Metric(name="mae", title="MAE", better="lower")


@pytest.mark.parametrize(
    ("path", "metric", "title"),
    [
        ("metrics.top1.value", TOP1, "Top-1"),
        ("top1", TOP1, "Top-1"),
        ("metrics.top1.low", TOP1, "Top-1, low end of its interval"),
        ("drop.top1", TOP1, "Top-1 lost"),
        ("drop.mae", MAE, "MAE rise"),
        ("latency_ms.p50", ROW_METRICS["latency_ms"], "Latency, p50"),
        ("gpu.memory_bytes", ROW_METRICS["gpu"], "GPU load, memory"),
        ("size_bytes", ROW_METRICS["size_bytes"], "Size"),
    ],
)
def test_a_figures_path_is_words(path: str, metric: Metric, title: str) -> None:
    assert path_title(path, metric) == title


def test_no_key_of_a_file_is_in_the_page() -> None:
    rules = [
        {"metric": "metrics.top1.value", "min": 0.8},
        {"metric": "drop.top1", "max": 0.01},
        {"metric": "latency_ms.p50", "max": 0.1},
        {"metric": "size_bytes", "max": 9e9},
    ]
    shown = page(None, comparison(), gated(*rules)).words
    assert not any(key in shown for key in ("metrics.top1", "drop.top1", "latency_ms", "size_bytes"))
    for told in ("Top-1 ≥ 80.00 %", "Top-1 lost ≤ 1.00 points", "Latency, p50 ≤ 0.1 ms"):
        assert told in shown


@pytest.mark.parametrize(
    ("metric", "drop", "said"),
    [
        (TOP1, 0.005, "0.50 points lost"),
        (TOP1, -0.005, "0.50 points gained"),
        (TOP1, 0.0, "no change"),
        (MAE, 0.25, "0.25 worse"),
        (MAE, -0.25, "0.25 better"),
    ],
)
def test_a_loss_is_said_in_words(metric: Metric, drop: float, said: str) -> None:
    assert wording.loss(metric, drop) == said


@pytest.mark.parametrize(
    ("top1", "number", "said"), [(0.8, "10.50", "10.50 points lost"), (0.91, "−0.50", "0.50 points gained")]
)
def test_a_loss_has_one_sign_everywhere(top1: float, number: str, said: str) -> None:
    """Positive in columns and rules; in words in the text and on the page of two runs."""
    compared = comparison(reference_row(), row(top1=top1))
    lost = next(column for column in measurements(compared).columns if column.name == "lost")
    assert lost.cell(compared.rows[1]).text == number
    assert said in judge(compared, None).sentence
    assert f" {number} " in markdown_summary(compared, None, None)
    gate = gated({"metric": "drop.top1", "max": 0.01}, of=compared)
    assert wording.measured(gate.verdicts[0]) == f"{number} points"
    before = comparison(reference_row(), row(metrics={"top1": Interval(value=0.905)}))
    after = compared.model_copy(update={"rows": (compared.rows[0], row(metrics={"top1": Interval(value=top1)}))})
    told = difference_page(Run("a", None, before), Run("b", None, after)).replace("\N{NO-BREAK SPACE}", " ")
    assert said in told


def test_things_are_counted() -> None:
    assert [wording.counted(n, "image") for n in (0, 1, 1200)] == ["0 images", "1 image", "1,200 images"]
    assert wording.counted(2, "box", "boxes") == "2 boxes"
