"""The network of the report: it is laid out, coloured, searched and moved through by mouse and keyboard."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from quantkit.reports.content.graph import Layer, Network
from quantkit.reports.html import html_report
from tests.browser.conftest import PHONE, Visit, violations
from tests.reports.builders import HOSTILE, calibration, comparison, reference_row, row
from tests.reports.test_layer_errors import errors

LAYERS = "#network-view .layer"
TENSORS = ["input", *(f"t{i}" for i in range(12))]


def layer(number: int, name: str = "") -> Layer:
    own = name or f"/stage{number // 4}/conv{number}"
    return Layer(own, "Conv + Relu", "N × 8 × 4 × 4", (own,), (f"t{number}",), True)


def chain(count: int) -> Network:
    """An input and Convs, of which every fourth reads the one four before it, too."""
    own = [
        Layer("input", "Input", "", (), ("input",), False),
        *(layer(i, f"/stage{i // 30}/conv{i}") for i in range(count)),
    ]
    edges = [(i, i + 1) for i in range(count)] + [(i, i + 4) for i in range(0, count - 4, 4)]
    return Network(tuple(own), tuple(edges))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "report.html"
    own = [Layer("input", "Input", "N × 3 × 8 × 8", (), ("input",), False)]
    own += [layer(i, HOSTILE[i - 8] if i >= 8 else "") for i in range(12)]
    found = Network(tuple(own), (*((i, i + 1) for i in range(12)), (1, 4), (4, 8)))
    losses = errors(*(40.0 - i for i in range(12)))
    compared = comparison(reference_row(), row(layer_errors=losses), row(target="onnxruntime", layer_errors=losses[:5]))
    path.write_text(html_report(calibration(TENSORS), compared, None, network=found), "utf-8")
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "report.html"
    path.write_text(html_report(None, comparison(), None, network=chain(3000)), "utf-8")
    return path


def drawn(visit: Visit, report: Path, **settings: object):
    page = visit(report, **settings)
    page.locator("#network-card").scroll_into_view_if_needed()
    page.locator("html[data-network]").wait_for()
    return page


def test_every_layer_is_drawn_and_coloured_by_what_is_chosen(network: Path, visit: Visit) -> None:
    page = drawn(visit, network)
    assert page.locator(LAYERS).count() == 13
    assert page.locator("#network-view .edge").count() == 14

    def heats() -> list[str]:
        return list(page.locator(LAYERS).evaluate_all("all => all.map(one => one.style.getPropertyValue('--heat'))"))

    first = heats()
    assert (first[1], first[12]) == ("0.0%", "50.0%")
    page.locator("#network-colour").select_option("1")
    assert heats() != first
    assert "SQNR on onnxruntime: 40 dB" in page.locator(LAYERS).nth(1).get_attribute("aria-label")


def test_a_layer_shows_its_histogram_and_leads_to_its_place_in_the_list(network: Path, visit: Visit) -> None:
    page = drawn(visit, network)
    page.locator(LAYERS).nth(3).click()
    told = page.locator("#network-told")
    assert told.locator(".chart svg .bar").count() > 20
    assert "/stage0/conv2" in told.inner_text() and "38 dB" in told.inner_text()
    told.locator("a").click()
    opened = page.locator(".tensor[open]")
    assert opened.count() == 1
    assert opened.locator(".title .name").inner_text() == "t2"
    assert opened.locator(".chart svg").count() == 1


def test_keys_follow_the_layers_choose_and_zoom(network: Path, visit: Visit) -> None:
    page = drawn(visit, network)
    focus = "document.activeElement.dataset.key"
    page.locator(LAYERS).first.focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    assert page.evaluate(focus) == "l3"
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focus) == "l2"
    assert page.locator(f"{LAYERS}[tabindex='0']").count() == 1
    page.keyboard.press("Enter")
    assert page.locator(f"{LAYERS}.chosen").get_attribute("data-key") == "l2"
    view = "document.querySelector('#network-view > g').getAttribute('transform')"
    before = page.evaluate(view)
    page.keyboard.press("+")
    closer = page.evaluate(view)
    page.keyboard.press("0")
    assert len({before, closer, page.evaluate(view)}) == 3


def test_the_pointer_moves_it_and_the_wheel_waits_for_the_focus(network: Path, visit: Visit) -> None:
    page = drawn(visit, network)
    view = "document.querySelector('#network-view > g').getAttribute('transform')"
    box = page.locator("#network-view").bounding_box()
    page.mouse.move(box["x"] + 30, box["y"] + 60)
    before, top = page.evaluate(view), page.evaluate("scrollY")
    page.mouse.wheel(0, 20)
    page.wait_for_timeout(100)
    assert page.evaluate(view) == before
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 90)
    page.mouse.up()
    dragged = page.evaluate(view)
    assert dragged != before
    page.locator(LAYERS).first.focus()
    top = page.evaluate("scrollY")
    page.mouse.wheel(0, 60)
    page.wait_for_timeout(100)
    assert page.evaluate(view) != dragged
    assert page.evaluate("scrollY") == top


def test_a_search_dims_the_others_and_enter_goes_there(network: Path, visit: Visit) -> None:
    page = drawn(visit, network)
    page.locator("#network-search").fill("conv7")
    assert page.locator(f"{LAYERS}.found").count() == 1
    assert page.locator("#network-shown").inner_text() == "1 of 13 layers"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.key") == "l8"


@pytest.mark.parametrize("settings", [{}, {"color_scheme": "dark"}, PHONE])
def test_it_is_accessible_and_fits(network: Path, visit: Visit, settings: dict[str, object]) -> None:
    page = drawn(visit, network, **settings)
    page.locator(LAYERS).nth(2).click()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_without_scripts_there_is_a_note(network: Path, visit: Visit) -> None:
    page = visit(network, java_script_enabled=False)
    assert page.locator("section[aria-labelledby=network] noscript p").is_visible()
    assert page.locator("#network-card").is_hidden()


def test_three_thousand_layers_are_drawn_as_blocks_that_open(large: Path, visit: Visit) -> None:
    page = visit(large)
    began = time.monotonic()
    page.locator("#network-card").scroll_into_view_if_needed()
    page.locator("html[data-network]").wait_for()
    assert time.monotonic() - began < 5
    assert page.locator(f"{LAYERS}.block").count() == 100
    block = page.locator(f"{LAYERS}.block").first
    block.focus()
    page.keyboard.press("Enter")
    assert "30 layers" in page.locator("#network-told").inner_text()
    page.keyboard.press("Enter")
    assert page.locator(LAYERS).count() == 101 - 1 + 30
    page.locator("#network-search").fill("conv2999")
    assert page.locator("#network-shown").inner_text() == "1 of 3,001 layers"
    page.locator("#network-fold").click()
    assert page.locator(LAYERS).count() == 101
