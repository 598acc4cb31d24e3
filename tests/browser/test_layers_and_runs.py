"""Layers that are folded away, and the page of two runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantkit.core.comparison import LayerError
from quantkit.reports.difference_html import Run, difference_page
from quantkit.reports.html import html_report
from tests.browser.conftest import Visit, violations
from tests.reports.builders import HOSTILE, answered, calibration, comparison, reference_row, row

PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}


def errors(count: int, first: float = 60.0) -> tuple[LayerError, ...]:
    return tuple(LayerError(name=f"n{i}", tensor=f"layer{i}", kind="Conv", sqnr_db=first - i) for i in range(count))


@pytest.fixture(scope="module")
def layered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compared = comparison(reference_row(), row(layer_errors=errors(40)))
    path = tmp_path_factory.mktemp("layered") / "report.html"
    path.write_text(html_report(calibration([e.tensor for e in errors(40)]), compared, None), "utf-8")
    return path


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    before = answered([0, 0, 1, 2], [0, 0, 1, 2], [0, 1, 1, 2])
    after = answered([0, 0, 1, 2], [0, 0, 1, 2], [1, 0, 1, 2])
    rows = (reference_row(), row(variant="mse", sqnr_db=31.5, layer_errors=errors(5, 50.0)))
    after = after.model_copy(update={"rows": rows})
    before = before.model_copy(update={"rows": (reference_row(), row(layer_errors=errors(5)), row(target="tensorrt"))})
    second = calibration(["conv1", HOSTILE[0]])
    tensors = {name: t.model_copy(update={"amax": 2 * t.amax}) for name, t in second.tensors.items()}
    runs = Run("monday", calibration(), before), Run(HOSTILE[1], second.model_copy(update={"tensors": tensors}), after)
    path = tmp_path_factory.mktemp("two") / "difference.html"
    path.write_text(difference_page(*runs), "utf-8")
    return path


def test_a_link_to_a_folded_layer_unfolds_it_and_draws(layered: Path, visit: Visit) -> None:
    page = visit(layered, "#t30")
    assert page.locator("details.more[open]").count() == 1
    chart = page.locator("#t30 .chart svg")
    assert "layer9," in str(chart.get_attribute("aria-label"))  # the 31st worst of layers that get worse with depth


def test_the_worst_layer_comes_first_and_the_filter_reaches_folded_ones(layered: Path, visit: Visit) -> None:
    page = visit(layered)
    assert page.locator(".tensor .title .name").first.text_content() == "layer39"
    assert not page.locator("#t38").is_visible()
    page.locator("#search").fill("layer1")
    assert page.locator(".tensor:visible").count() == 11  # layer1, and layer10 to layer19


def test_on_a_phone_every_figure_of_a_layer_is_inside_its_card(layered: Path, visit: Visit) -> None:
    page = visit(layered, **PHONE)
    outside = "[...document.querySelectorAll('.tensor .fact')].filter(e => e.getBoundingClientRect().right > 390)"
    assert page.evaluate(f"{outside}.length") == 0


def test_two_runs_open_without_a_network_and_sort(two: Path, visit: Visit) -> None:
    page = visit(two)
    assert page.locator("h1").text_content() == "Better"
    assert page.locator(".picture .wide .point > path").count() == 5
    table = page.locator("table.differences")
    assert table.locator("tbody").count() == 3
    table.get_by_role("button", name="SQNR").click()
    assert table.locator("th[aria-sort=ascending]").text_content() == "SQNR"
    assert "+6.2" in str(table.locator("tbody").first.text_content())


@pytest.mark.parametrize("settings", [{}, PHONE], ids=["light", "phone, dark"])
def test_two_runs_are_accessible_and_fit(two: Path, visit: Visit, settings: dict[str, object]) -> None:
    page = visit(two, **settings)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page) == []


@pytest.mark.parametrize("width", [1280, 390])
def test_how_two_runs_were_made_stands_under_their_names(width: int, two: Path, visit: Visit) -> None:
    page = visit(two, viewport={"width": width, "height": 900})
    page.emulate_media(media="print" if width == 390 else "screen")
    lefts = page.eval_on_selector_all(
        ".circumstances tr", "rows => rows.map(r => [...r.cells].map(c => Math.round(c.getBoundingClientRect().left)))"
    )
    assert len(lefts) > 3
    assert all(row == lefts[0] for row in lefts)
