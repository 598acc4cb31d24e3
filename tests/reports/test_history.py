"""Several runs: their order, what breaks a line, what is said of it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from quantkit.core.calibration import ModelRef
from quantkit.core.comparison import Comparison, Latency
from quantkit.reports.content.history import History, Release, history, history_document, history_table
from quantkit.reports.history_html import history_page
from tests.reports.builders import HOSTILE, SHA, Page, calibration, comparison, reference_row, row


def at(month: int, top1: float = 0.9, **changes: Any) -> Comparison:
    compared = comparison(reference_row(), row(top1=top1), **changes)
    moment = f"2026-{month:02}-01T00:00:00+00:00"
    return compared.model_copy(update={"environment": compared.environment.model_copy(update={"measured": moment})})


def of(*comparisons: Comparison) -> History:
    return history([Release(f"v{number}", each) for number, each in enumerate(comparisons)])


def elsewhere(compared: Comparison) -> Comparison:
    return compared.model_copy(update={"environment": compared.environment.model_copy(update={"cpu": "Another"})})


def breaks(found: History) -> dict[str, str]:
    return {trend.path: trend.breaks[1] for trend in found.trends if trend.breaks[1]}


def test_runs_stand_in_the_order_of_their_comparisons() -> None:
    found = of(at(3, 0.8), at(1, 0.9), at(2, 0.85))
    assert [release.name for release in found.releases] == ["v1", "v2", "v0"]
    top1 = found.trends[0]
    assert [trend.title for trend in found.trends] == ["Top-1", "Agreement", "SQNR", "p50", "Size"]
    int8 = next(line for line in top1.lines if line.row.precision == "int8")
    assert [reading.value for reading in int8.readings] == [0.9, 0.85, 0.8]
    assert int8.readings[0].low == pytest.approx(0.86)


def test_what_cannot_be_compared_breaks_the_lines_that_depend_on_it() -> None:
    before = at(1)
    assert breaks(of(before, at(2))) == {}
    other_data = dict.fromkeys(("metrics.top1.value", "agreement", "sqnr_db"), "other data")
    assert breaks(of(before, at(2, data_sha256=SHA[::-1]))) == other_data
    assert breaks(of(before, elsewhere(at(2)))) == {"latency_ms.p50": "other machine"}
    other_model = breaks(of(before, at(2, model="models/other.onnx")))
    assert other_model["latency_ms.p50"] == "other model"
    assert "metrics.top1.value" not in other_model  # on the same data, accuracy does compare


def test_new_weights_of_the_same_network_break_nothing_and_are_named() -> None:
    new = ModelRef(path="models/net.onnx", sha256=SHA[::-1])
    one, other = Release("a", at(1), calibration()), Release("b", at(2), calibration(model=new))
    found = history([one, other])
    assert (breaks(found), found.notes) == ({}, ["b against a: other weights."])
    wider = history([one, Release("b", at(2), calibration(["conv1", "relu1", "conv2"], model=new))])
    assert breaks(wider)["latency_ms.p50"] == "other model"


def test_a_row_of_some_runs_alone_and_another_method_are_lines() -> None:
    first = comparison(reference_row(), row(variant="minmax"))
    found = of(first, at(2).model_copy(update={"rows": (reference_row(), row(), row(target="onnxruntime"))}))
    counts = {title: len(line.readings) for line in found.trends[0].lines for title in [line.title]}
    assert counts == {"FP32 on openvino": 2, "INT8 on openvino": 2, "INT8 on onnxruntime": 1}


def test_the_table_has_int8_by_row_and_time() -> None:
    heads, rows = history_table(of(at(1), elsewhere(at(2, 0.8))))
    assert heads[:4] == ["", "run", "compared", "Top-1"]
    assert [cells[:4] for cells in rows] == [
        ["INT8 on openvino", "v0", "2026-01-01", "90.0 % [86.0–94.0]"],
        ["INT8 on openvino", "v1", "2026-02-01", "80.0 % [76.0–84.0]"],
    ]
    assert [cells[-1] for cells in rows] == ["", "other machine"]


def test_json_is_finite_and_names_the_breaks() -> None:
    exact = comparison(reference_row(), row(sqnr_db=None))
    document = history_document(of(exact, at(2, data_sha256=SHA[::-1])))
    sqnr = next(one for one in document["figures"] if one["metric"] == "sqnr_db")
    assert [reading["value"] for reading in sqnr["rows"][0]["readings"]] == [None, 25.3]
    assert sqnr["breaks"] == {"v1": "other data"}


def test_the_page_breaks_lines_draws_intervals_and_judges_the_newest() -> None:
    slower = Latency(p10=3, p50=4, p90=5, p99=6, p50_low=3.9, p50_high=4.1)
    quick = slower.model_copy(update={"p50": 2.0, "p50_low": 1.9, "p50_high": 2.1})
    runs = [
        each.model_copy(update={"rows": (reference_row(), row(latency_ms=latency))})
        for each, latency in ((at(1), quick), (elsewhere(at(2)), quick), (elsewhere(at(3)), slower))
    ]
    source = history_page(of(*runs))
    pictures = dict(
        zip(
            ("Top-1", "Agreement", "SQNR", "p50", "Size"),
            re.findall(r'<svg class="trend" .*?</svg>', source, re.S),
            strict=True,
        )
    )
    assert pictures["p50"].count('class="break"') == 1
    assert pictures["p50"].count('class="run c0 int8"') == 1  # of the last two runs alone
    assert pictures["Top-1"].count('class="interval c0 int8"') == 3
    shown = Page(source)
    assert "Slower" in shown.words and "v2 is worse by p50" in shown.words
    assert "v1 against v0: other machine." in shown.words


def test_names_are_text() -> None:
    for name in HOSTILE:
        rows = reference_row(target=name), row(target=name, variant=name)
        releases = [Release(f"{name}{n}", at(n).model_copy(update={"rows": rows, "model": name})) for n in (1, 2)]
        shown = Page(history_page(history(releases)))
        assert shown.count("img") == 0 and shown.count("script") == 2
        assert shown.count("b") == 0
