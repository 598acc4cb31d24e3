"""Where the accuracy goes: the list of layers, the picture, and the summary's line."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from quantkit.core.comparison import LayerError, Row
from quantkit.gates.figure import figure
from quantkit.reports.charts.depth import depth_svg
from quantkit.reports.content.layer_errors import SHOWN, layer_entries, series_of, worst_layers_first, worst_named
from quantkit.reports.content.tensors import tensor_entries
from quantkit.reports.html import html_report
from quantkit.reports.markdown import markdown_summary
from tests.reports.builders import HOSTILE, Page, calibration, comparison, gated, page, reference_row, row


def errors(*values: float | None, names: tuple[str, ...] = ()) -> tuple[LayerError, ...]:
    names = names or tuple(f"t{i}" for i in range(len(values)))
    return tuple(
        LayerError(name=f"node of {name}", tensor=name, kind="Conv", sqnr_db=value)
        for name, value in zip(names, values, strict=True)
    )


def ort(**changes: object) -> Row:
    return row(target="onnxruntime", **changes)


def test_worst_first_by_the_worst_target_and_the_rest_in_the_models_order() -> None:
    rows = [
        reference_row(),
        row(layer_errors=errors(30.0, None, 40.0, -300.0)),
        ort(layer_errors=errors(30.0, 20.0, 50.0)),
    ]
    series = series_of(rows)
    assert [one.label for one in series] == ["openvino", "onnxruntime"]
    entries = layer_entries(series, tensor_entries(calibration(["x", "t0", "a"])))
    assert [entry.tensor for entry in entries] == ["t3", "t1", "t0", "t2", "x", "a"]
    texts = [[cell.text if cell else None for cell in entry.errors] for entry in entries]
    assert texts[:4] == [["not finite", None], ["∞", "20.0"], ["30.0", "30.0"], ["40.0", "50.0"]]
    assert texts[4:] == [[None, None]] * 2
    assert [entry.calibrated is not None for entry in entries] == [False, False, True, False, True, True]


def test_a_bar_is_as_long_as_the_error_is_large() -> None:
    entries = layer_entries(series_of([row(layer_errors=errors(20.0, 40.0, None, -300.0, 26.0206))]), [])
    sizes = {entry.tensor: entry.errors[0].size for entry in entries if entry.errors[0]}
    assert sizes == pytest.approx({"t0": 1, "t1": 0.1, "t2": 0, "t3": 1, "t4": 0.5}, abs=1e-4)


def test_variants_of_a_target_are_told_apart() -> None:
    rows = [row(variant=f"mse, {placement}", layer_errors=errors(30.0)) for placement in ("qdq", "nncf")]
    assert [(one.label, one.nth) for one in series_of(rows)] == [("openvino mse, qdq", 0), ("openvino mse, nncf", 1)]


def test_the_section_stands_between_the_measurements_and_what_changed() -> None:
    compared = comparison(reference_row(), row(layer_errors=errors(31.5, 24.8, names=("relu1", "conv1"))))
    shown = page(calibration(), compared)
    positions = [shown.words.index(text) for text in ("All measurements", "Where the accuracy goes", "How it was made")]
    assert positions == sorted(positions)
    names = re.findall(r'class="title"><span class="name">(\w+)', html_report(calibration(), compared, None))
    assert names == ["conv1", "relu1"]
    assert "Put out by the Conv node of conv1." in shown.words
    assert "s8 scale" in shown.words and "u8 scale" in shown.words
    assert "Tensors " not in shown.words.split("Tensors without a figure")[0]
    assert len(shown.scripts) == 2


def test_without_layer_errors_the_tensors_are_listed_as_they_are() -> None:
    for compared in (None, comparison()):
        shown = page(calibration(), compared)
        assert "2 calibrated tensors" in shown.words
        assert "Where the accuracy goes" not in shown.words
        assert "SQNR of each layer" not in shown.words
        assert shown.count("details", **{"class": "tensor"}) == 2


def test_without_a_calibration_there_are_figures_but_no_histograms() -> None:
    shown = page(None, comparison(reference_row(), row(layer_errors=errors(30.0, 20.0))))
    assert "The calibration has no range for this tensor." in shown.words
    assert shown.count("div", **{"class": "chart"}) == 0


def test_a_long_list_is_folded_behind_the_worst() -> None:
    names = tuple(f"layer{i}" for i in range(40))
    values = [60.0 - i for i in range(40)]
    compared = comparison(reference_row(), row(layer_errors=errors(*values, names=names)))
    source = html_report(calibration(names), compared, None)
    assert f"{40 - SHOWN} more, from {60 - 39 + SHOWN:.1f} dB on" in " ".join(Page(source).words.split())
    before, after = source.split('<details class="more">')
    assert before.count('<details class="tensor"') == SHOWN
    assert after.count('<details class="tensor"') == 40 - SHOWN
    assert source.count("<details") == source.count("</details>")


def test_hostile_names_are_text() -> None:
    found = tuple(
        LayerError(name=name, tensor=f"{name}{i}", kind=name, sqnr_db=20.0 + i)
        for i, name in enumerate((*HOSTILE, *HOSTILE))
    )
    rows = [reference_row(target=name) for name in HOSTILE]
    rows += [row(target=name, layer_errors=found) for name in HOSTILE]
    source = html_report(calibration([error.tensor for error in found]), comparison(*rows), None)
    shown = Page(source)
    assert len(shown.scripts) == 2
    assert not shown.count("img") and "onerror" not in {name for _, own in shown.elements for name in own}
    assert not re.search(r"<[^|]", markdown_summary(comparison(*rows), None, None))
    for narrow in (False, True):
        ElementTree.fromstring(depth_svg(series_of(rows), list(HOSTILE), narrow=narrow))


def test_a_hundred_layers_on_four_targets_stay_small() -> None:
    names = tuple(f"/features/features.{i}/conv/conv.2/Conv_output_0" for i in range(100))
    rows = [
        row(target=f"t{i}", layer_errors=errors(*(30.0 + i % 7 for i in range(100)), names=names)) for i in range(4)
    ]
    source = html_report(calibration(names), comparison(reference_row(target="t0"), *rows), None)
    assert len(source.encode()) < 2_000_000


def test_the_picture_has_a_mark_for_each_layer_and_is_told_in_words() -> None:
    series = series_of([row(layer_errors=errors(30.0, -300.0, None, 20.0)), ort(layer_errors=errors(31.0, 25.0, 33.0))])
    drawn = depth_svg(series, ["openvino", "onnxruntime"])
    assert drawn == depth_svg(series, ["openvino", "onnxruntime"])
    assert len(re.findall(r"<path [^>]*transform=", drawn)) >= 3 + 3
    assert "var(--c0)" in drawn and "var(--c1)" in drawn
    told = ElementTree.fromstring(drawn).findtext("{http://www.w3.org/2000/svg}desc") or ""
    assert told.startswith("4 layers; Least SQNR of a layer's output: Conv node of t1 (not finite on openvino)")
    assert ">falls 10.0 dB: node of t3<" in drawn
    assert depth_svg(series_of([row(layer_errors=errors(30.0, 20.0))]), ["openvino"]) == ""
    assert depth_svg([], []) == ""


def test_the_summary_names_the_three_worst() -> None:
    compared = comparison(reference_row(), row(layer_errors=errors(30.0, 24.84, None, 27.0, 50.0)))
    text = markdown_summary(compared, None, None)
    assert (
        "Least SQNR of a layer's output: Conv node of t1 (24.8 dB on openvino), "
        "Conv node of t3 (27.0 dB on openvino), Conv node of t0 (30.0 dB on openvino).\n" in text
    )
    assert worst_named(series_of([row(layer_errors=errors(None, None))])) == ""
    rows = [row(target=f"target{i}", layer_errors=errors(30.0, 24.8, 27.0)) for i in range(100)]
    full = comparison(reference_row(), *rows, warnings=tuple(f"warning {i}" for i in range(50)))
    gate = gated({"metric": "drop.top1", "max": 0.001}, {"metric": "speedup", "min": 1}, of=full)
    assert len(markdown_summary(full, gate, calibration()).splitlines()) < 60


def test_equal_errors_stay_in_the_models_order() -> None:
    found = worst_layers_first(series_of([row(layer_errors=errors(20.0, None, 20.0, None))]))
    assert [error.tensor for error in found] == ["t0", "t2", "t1", "t3"]


def test_a_gate_can_ask_for_the_worst_layer() -> None:
    measured = row(layer_errors=errors(30.0, 24.8, None))
    compared = comparison(reference_row(), measured)
    for rule, outcome in (({"min": 24}, "pass"), ({"min": 25}, "fail")):
        result = gated({"metric": "worst_layer_sqnr_db", **rule}, of=compared)
        assert [verdict.outcome for verdict in result.verdicts] == [outcome]
        assert "| 24.8 dB |" in markdown_summary(compared, result, None)
    assert figure(compared, reference_row(), "worst_layer_sqnr_db") is None
    exact = figure(compared, row(layer_errors=errors(None)), "worst_layer_sqnr_db")
    assert exact is not None and exact.value == math.inf
