"""How a report tells what tuning tried: the picture, the table, the summary."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from quantkit.core.comparison import Interval
from quantkit.core.tuning import Goal, Measured, TuneStep, Tuning
from quantkit.reports.charts.tuning import tuning_svg
from quantkit.reports.content.tuning import columns, outcome
from quantkit.reports.content.tuning_path import accuracy_of, front, spots
from quantkit.reports.html import html_report
from quantkit.reports.markdown import markdown_summary
from tests.reports.builders import HOSTILE, Page, calibration, comparison, reference_row, row
from tests.reports.test_scatter import SVG, texts


def step(title: str, sqnr_db: float | None, slower: float | None, stage: str = "ranges", **changes: object) -> TuneStep:
    change = None if slower is None else Interval(value=slower, low=slower - 0.01, high=slower + 0.01)
    figures = Measured(
        sqnr_db=sqnr_db, agreement=0.99, latency_ms=None if slower is None else 1 + slower, slowdown=change
    )
    return TuneStep.model_validate({"stage": stage, "title": title, "figures": figures} | changes)


def tuning(timed: bool = True, title: str = "stem/conv1 in floating point", **changes: object) -> Tuning:
    steps = (
        step("FP16", 60.0, 1.5 if timed else None, "fp16"),
        step("the run's own INT8", 20.0, 0.0 if timed else None, "default", accepted=True),
        step("other ranges for 2 tensors", 24.0, 0.01 if timed else None, accepted=True),
        step("biases corrected once on the quantized network", 19.0, 0.02 if timed else None, "biases"),
        step(title, 31.0, 0.03 if timed else None, "floating point", accepted=True, floating=1),
    )
    fields: dict[str, object] = {
        "run": "out",
        "target": "openvino",
        "device": "CPU" if timed else "",
        "goal": Goal(kind="sqnr", bound=30.0),
        "met": True,
        "data": "/imgs",
        "tuned_on": 300,
        "held_out": 300,
        "steps": steps if timed else steps[1:],
        "chosen": 4 if timed else 3,
        "notes": ("Tuned on 300 of 600 samples; the others are reported.",),
        "seconds": 12.0,
        "environment": comparison().environment,
    }
    return Tuning.model_validate(fields | changes)


@pytest.mark.parametrize("narrow", [False, True])
def test_every_step_is_a_named_point_that_can_be_reached(narrow: bool) -> None:
    root = ElementTree.fromstring(tuning_svg(tuning(), narrow=narrow))
    points = [group for group in root.iter(f"{SVG}g") if group.get("class") == "point"]
    assert [point.get("tabindex") for point in points] == ["0"] * 5
    told = [point.get("aria-label", "") for point in points]
    assert told[0].startswith("1. FP16: to compare; SQNR 60.0 dB")
    assert told[3].startswith("4. biases corrected once on the quantized network: no")
    assert told[4].startswith("5. stem/conv1 in floating point: result; SQNR 31.0 dB")
    assert "% slower than the default INT8" in told[4]
    assert root.get("aria-details") == "steps"
    shown = texts(tuning_svg(tuning(), narrow=narrow))
    assert {"1 FP16", "2 default INT8", "4", "5 stem/conv1", "not taken", "goal", "Pareto front"} <= set(shown)


def test_colours_and_bytes_are_as_those_of_the_other_charts() -> None:
    svg = tuning_svg(tuning())
    assert svg == tuning_svg(tuning())
    assert not re.search(r"#[0-9a-f]{6}\b(?!\))", re.sub(r'(href="|url\()#\w+', "", svg))
    wide, narrow = (set(re.findall(r'\bid="([^"]+)"', tuning_svg(tuning(), narrow=n))) for n in (False, True))
    assert not wide & narrow


def test_without_latency_accuracy_is_drawn_by_step() -> None:
    found = tuning(timed=False)
    assert [spot.x for spot in spots(found)] == [1, 2, 3, 4]
    shown = texts(tuning_svg(found))
    assert "Step" in shown
    assert "Pareto front" not in shown
    assert "p50, ms" not in columns(found)[0]


def test_the_front_has_what_nothing_beats() -> None:
    assert [spot.number for spot in front(spots(tuning()), higher=True)] == [2, 3, 5, 1]


def test_the_axis_is_the_goals_where_steps_differ_in_it() -> None:
    def with_drops(*drops: float) -> Tuning:
        steps = tuple(
            one.model_copy(update={"figures": one.figures.model_copy(update={"drop": drop})})
            for one, drop in zip(tuning().steps, drops, strict=True)
        )
        return tuning(steps=steps, goal=Goal(kind="drop", bound=0.005))

    assert accuracy_of(with_drops(0, 0, 0, 0, 0)).title == "SQNR, dB"
    axis = accuracy_of(with_drops(0, 0.03, 0.02, 0.02, 0.005))
    assert (axis.title, axis.higher, axis.goal) == ("Drop, points", False, 0.5)
    assert tuning_svg(with_drops(0, 0.03, 0.02, 0.02, 0.005))


def test_bit_exact_and_hostile_steps_can_be_drawn() -> None:
    exact = tuple(one.model_copy(update={"figures": Measured(sqnr_db=None)}) for one in tuning(timed=False).steps)
    assert tuning_svg(tuning(timed=False, steps=exact))
    assert "SQNR exact → exact" in outcome(tuning(timed=False, steps=exact))
    for name in HOSTILE:
        svg = tuning_svg(tuning(title=f"{name} in floating point"))
        assert "<script" not in svg
        assert "<img" not in svg


def test_the_report_and_the_summary_tell_it() -> None:
    compared = comparison(reference_row(), row("int8", 0.9))
    shown = Page(html_report(calibration(), compared, None, tuning=tuning()))
    for words in (
        "How it was tuned",
        "The goal is met (an SQNR of at least 30 dB): SQNR 20.0 → 31.0 dB",
        "1 of the layers stay",
        "biases corrected once on the quantized network",
        "Tuned on 300 of 600 samples",
    ):
        assert words in shown.words
    assert "How it was tuned" not in Page(html_report(calibration(), compared, None)).words
    summary = markdown_summary(compared, None, calibration(), None, tuning())
    assert "**How it was tuned**: The goal is met" in summary
    assert "| 5 | stem/conv1 in floating point | result | 31.0 |" in summary
    assert "biases corrected once" not in summary
    assert "… and 1 more steps in the report." in summary
    many = tuning(steps=(*tuning().steps, *(step(f"s{i}", 32.0, 0.1, accepted=True) for i in range(90))), chosen=94)
    assert len(markdown_summary(compared, None, calibration(), None, many).splitlines()) < 60
