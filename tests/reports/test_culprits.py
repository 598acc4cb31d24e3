"""The layers that cost the accuracy, in the report, the table and the summary."""

from __future__ import annotations

import re

from quantkit.core.sensitivity import LayerSensitivity, Loss, Sensitivity
from quantkit.reports.content.culprits import columns, culprits, named, summary
from quantkit.reports.content.layer_errors import layer_entries, series_of, steepest_fall
from quantkit.reports.html import html_report
from quantkit.reports.markdown import markdown_summary
from quantkit.tasks.classification import Classification
from tests.reports.builders import HOSTILE, calibration, comparison, gated, reference_row, row
from tests.reports.test_layer_errors import errors


def layer(tensor: str, only: float | None, gain: float | None = 1.0, place: int = 1) -> LayerSensitivity:
    loss = Loss(sqnr_db=only, kl=0.01, agreement=0.9, drop={"top1": 0.02})
    return LayerSensitivity(
        name=f"node of {tensor}", kind="Conv", tensor=tensor, place=place, only=loss, all_but=loss, gain_db=gain
    )


def sensitivity(*layers: LayerSensitivity, **changes: object) -> Sensitivity:
    fields: dict[str, object] = {
        "model": "net.onnx",
        "recipe": "0" * 64,
        "target": "onnxruntime",
        "data": "imgs",
        "data_sha256": "0" * 64,
        "samples": 100,
        "labelled": 100,
        "task": "classification",
        "metrics": Classification.metrics,
        "floating": {"top1": 0.9},
        "int8": Loss(sqnr_db=20.0, kl=0.1, agreement=0.9, drop={"top1": 0.1}),
        "layers": layers,
        "seconds": 12.3,
        "environment": comparison().environment,
    }
    return Sensitivity.model_validate(fields | changes)


def names(page: str) -> list[str]:
    return re.findall(r'class="title"><span class="name">([^<]+)', page)


def test_the_list_begins_with_what_layers_lose_by_themselves() -> None:
    compared = comparison(reference_row(), row(layer_errors=errors(40.0, 30.0, 20.0, 10.0)))
    found = sensitivity(layer("t1", 12.0), layer("t0", 35.0), layer("not measured", 50.0))
    page = html_report(calibration(["t0", "t1", "x"]), compared, None, sensitivity=found)
    assert names(page) == ["t1", "t0", "not measured", "t3", "t2", "x"]
    assert "By themselves, these layers lose most: Conv node of t1 (12.0 dB), Conv node of t0 (35.0 dB)" in page
    assert "Number 1 of 3 by what it loses by itself" in page
    assert "quantkit sensitivity</code>" not in page


def test_without_it_the_report_says_how_to_get_it() -> None:
    compared = comparison(reference_row(), row(layer_errors=errors(40.0, 30.0)))
    page = html_report(calibration(["t0", "t1"]), compared, None)
    assert names(page) == ["t1", "t0"]
    assert "<code>quantkit sensitivity</code> names those that cause it" in page
    assert "quantkit sensitivity" not in html_report(calibration(), comparison(), None)  # nothing is listed there


def test_it_needs_no_comparison() -> None:
    page = html_report(calibration(["t0", "t1"]), None, None, sensitivity=sensitivity(layer("t1", 12.0)))
    assert "Where the accuracy goes" in page
    assert names(page) == ["t1", "t0"]


def test_a_bar_is_as_long_as_the_error_is_large() -> None:
    found = sensitivity(layer("a", -300.0), layer("b", 20.0), layer("c", 40.0), layer("d", None))
    assert [round(culprit.size, 3) for culprit in culprits(found)] == [1, 1, 0.1, 0]
    assert [culprit.alone for culprit in culprits(found)] == ["not finite", "20.0", "40.0", "∞"]


def test_the_table_has_what_was_measured() -> None:
    heads, rows = columns(sensitivity(layer("a", 20.0, -0.5)))
    assert heads == ["#", "layer", "kind", "only it, dB", "all but it, dB gained", "only it, KL", "only it, top-1 drop"]
    assert rows == [["1", "node of a", "Conv", "20.0", "−0.5", "0.01", "2.00 points"]]
    unlabelled = sensitivity(layer("a", 20.0, None), labelled=0, int8=Loss(sqnr_db=20.0, kl=0.1, agreement=0.95))
    heads, rows = columns(unlabelled)
    assert heads[-1] == "only it, agreement"
    assert rows[0][3:] == ["20.0", "–", "0.01", "90.0 %"]
    assert "without labels" in summary(unlabelled)
    assert "agreement 95.0 %" in summary(unlabelled)
    plain = sensitivity(
        layer("a", 20.0).model_copy(update={"only": Loss(sqnr_db=20.0)}), metrics=(), int8=Loss(sqnr_db=20.0)
    )
    assert columns(plain)[0][3:] == ["only it, dB", "all but it, dB gained"]


def test_nothing_lost_is_said() -> None:
    assert named(sensitivity(layer("a", None))) == "No layer loses anything by itself."


def test_the_steepest_fall_is_between_successive_layers() -> None:
    series = series_of([row(layer_errors=errors(50.0, None, 45.0, 20.0, 30.0, -300.0, 28.0, 10.0))])
    fall = steepest_fall(series)
    assert fall is not None
    assert (fall.error.tensor, fall.decibels) == ("t3", 25.0)
    assert steepest_fall(series_of([row(layer_errors=errors(10.0, 20.0, 30.0))])) is None
    assert steepest_fall([]) is None


def test_the_curve_is_labelled_there() -> None:
    compared = comparison(reference_row(), row(layer_errors=errors(50.0, 45.0, 20.0, 19.0, 18.0)))
    page = html_report(None, compared, None)
    assert "falls 25.0 dB: node of t2" in page
    assert "It falls most, by 25.0 dB, at Conv node of t2." in page
    rising = comparison(reference_row(), row(layer_errors=errors(20.0, 45.0, 50.0)))
    assert "20.0 dB: node of t0" in html_report(None, rising, None)


def test_names_are_untrusted() -> None:
    found = sensitivity(*(layer(name, 20.0 + number) for number, name in enumerate(HOSTILE)))
    page = html_report(calibration(HOSTILE), comparison(), gated({"metric": "agreement", "min": 0.9}), True, (), found)
    assert "<script>alert" not in page
    assert not re.search(r"<[^|]", markdown_summary(comparison(), None, None, found))


def test_the_summary_names_them() -> None:
    compared = comparison(reference_row(), row(layer_errors=errors(40.0, 30.0)))
    text = markdown_summary(compared, None, None, sensitivity(layer("t1", 12.0)))
    assert "By themselves, these layers lose most: Conv node of t1 (12.0 dB)." in text
    assert "Least SQNR" not in text


def test_a_layer_that_feeds_two_units_is_listed_once() -> None:
    entries = layer_entries([], [], culprits(sensitivity(layer("a", 10.0), layer("a", 20.0))))
    assert [(entry.tensor, entry.culprit.rank) for entry in entries if entry.culprit] == [("a", 1)]
