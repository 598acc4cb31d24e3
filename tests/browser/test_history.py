"""The page of several runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantkit.reports.content.history import Release, history
from quantkit.reports.history_html import history_page
from tests.browser.conftest import PHONE, Visit, violations
from tests.reports.builders import HOSTILE, comparison, reference_row, row


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    releases = []
    for number in range(5):
        rows = reference_row(), row(top1=0.9 - 0.01 * number), row(target=HOSTILE[1], top1=0.9)
        compared = comparison(*rows)
        environment = {"measured": f"2026-0{number + 1}-01T00:00:00+00:00", "cpu": "A" if number < 3 else "B"}
        compared = compared.model_copy(update={"environment": compared.environment.model_copy(update=environment)})
        releases.append(Release(f"release-{number}", compared))
    path = tmp_path_factory.mktemp("several") / "history.html"
    path.write_text(history_page(history(releases)), "utf-8")
    return path


@pytest.mark.parametrize("settings", [{}, {**PHONE, "color_scheme": "dark"}], ids=["light", "phone, dark"])
def test_it_opens_fits_and_is_accessible(several: Path, visit: Visit, settings: dict[str, object]) -> None:
    page = visit(several, **settings)
    assert page.locator("svg.trend .mark").count() == 5 * (3 * 3 + 2 + 2)  # FP32 has neither agreement nor SQNR
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator(".glossary summary").click()
    assert violations(page) == []


def test_a_mark_tells_its_figures_and_the_table_sorts(several: Path, visit: Visit) -> None:
    page = visit(several)
    latency = page.locator("figure", has_text="p50")
    assert latency.locator(".break").count() == 1
    latency.locator(".point .mark").nth(3).hover(force=True)
    told = latency.locator(".readout").inner_text()
    assert "release-3" in told and "other machine" in told
    page.locator("#measurements").get_by_role("button", name="Top-1").click()
    assert page.locator("#measurements tbody").first.inner_text().split("\t")[2].startswith("86.0")
