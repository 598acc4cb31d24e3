"""The report of a tuned run: every step can be reached, read, and seen in the dark and on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantkit.reports.html import html_report
from tests.browser.conftest import PHONE, Visit, violations
from tests.reports.builders import calibration, comparison, reference_row, row
from tests.reports.test_tuning import tuning

SECTION = "section[aria-labelledby=tuning]"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tuned") / "report.html"
    name = "/backbone/stage3/without_a_place_to_break_it" * 3
    found = tuning(title=f"{name} in floating point")
    path.write_text(html_report(calibration(), comparison(reference_row(), row()), None, tuning=found), "utf-8")
    return path


def test_each_picture_has_a_readout_of_its_own(tuned: Path, visit: Visit) -> None:
    page = visit(tuned)
    points, readout = page.locator(f"{SECTION} .wide .point"), page.locator(f"{SECTION} .readout")
    assert points.count() == 5
    for index in range(5):
        points.nth(index).focus()
        assert readout.is_visible()
        said = points.nth(index).get_attribute("aria-label").split("; ")
        assert readout.locator("p").all_inner_texts()[: len(said)] == said
        assert page.locator("#readout").is_hidden()
    page.keyboard.press("Escape")
    assert readout.is_hidden()
    page.locator(".wide .point").first.focus()
    assert page.locator("#readout").is_visible()


@pytest.mark.parametrize("settings", [{}, {"color_scheme": "dark"}, PHONE])
def test_it_is_accessible_and_fits(tuned: Path, visit: Visit, settings: dict[str, object]) -> None:
    page = visit(tuned, **settings)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    shown = page.locator(f"{SECTION} {'.narrow' if settings is PHONE else '.wide'}")
    assert shown.is_visible()
