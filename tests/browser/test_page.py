"""The report as people use it: it opens, draws, sorts, filters, prints, and says what a point is."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import LAYERS, PHONE, Visit
from tests.reports.builders import HOSTILE

LOAD_MS = 3_000  # a page takes a few hundred; a busy machine should not fail the test
BYTES_PER_LAYER = 20_000


@pytest.mark.parametrize("name", ["real", "rich", "big", "hostile"])
def test_it_opens_from_a_file_without_a_network_and_every_chart_has_marks(
    name: str, visit: Visit, request: pytest.FixtureRequest
) -> None:
    page = visit(request.getfixturevalue(name))
    assert page.locator("html[data-ready]").count() == 1
    rows = page.locator("#measurements tbody").count()
    steps = page.locator("#steps tbody").count()  # of tuning, in a picture of their own
    assert page.locator(".picture .wide .point > path").count() == rows + steps
    chart = page.locator(".tensor:has(.chart)").first
    chart.locator("summary").click()
    chart.locator(".chart svg").wait_for()  # the browser tells of an opened tensor when it gets to it
    assert chart.locator(".chart svg .bar").count() > 20
    assert chart.locator(".chart svg .line.chosen").count() == 1


def test_a_page_of_a_hundred_layers_is_small_and_loads_at_once(big: Path, visit: Visit) -> None:
    assert big.stat().st_size < BYTES_PER_LAYER * LAYERS
    timing = visit(big).evaluate("performance.getEntriesByType('navigation')[0].toJSON()")
    assert 0 < timing["domContentLoadedEventEnd"] < LOAD_MS
    assert timing["loadEventEnd"] < LOAD_MS


def test_a_link_opens_its_tensor(rich: Path, visit: Visit) -> None:
    page = visit(rich, "#t3")
    assert page.locator(".tensor[open]").count() == 1
    assert page.locator("#t3 .chart svg").count() == 1


def test_fifty_opened_tensors_are_all_drawn(big: Path, visit: Visit) -> None:
    page = visit(big)
    page.evaluate("document.querySelectorAll('.tensor').forEach((tensor, i) => { tensor.open = i < 50; })")
    page.wait_for_function("document.querySelectorAll('.chart svg').length === 50")


def keys_of(page: Any, index: int) -> list[str]:
    script = "i => [...document.querySelectorAll('#measurements tbody')].map(b => b.rows[0].cells[i].dataset.key)"
    return list(page.evaluate(script, index))


def ordered(keys: list[str], numeric: bool, descending: bool) -> bool:
    there = [key for key in keys if key]
    if keys[: len(there)] != there:  # cells without a figure come last either way
        return False
    if numeric:
        values = [float(key) for key in there]
        return values == sorted(values, reverse=descending)
    return there == sorted(there, key=str.lower, reverse=descending)


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_every_column_sorts_both_ways_and_says_so(by: str, rich: Path, visit: Visit) -> None:
    page = visit(rich)
    headings = page.locator("#measurements th")
    assert headings.count() > 12
    for index in range(headings.count()):
        heading = headings.nth(index)
        button = heading.locator("button")
        numeric = "number" in (heading.get_attribute("class") or "")
        for key, wanted in (("Enter", "ascending"), ("Space", "descending")):
            if by == "mouse":
                button.click()
            else:
                button.focus()
                page.keyboard.press(key)
            assert heading.get_attribute("aria-sort") == wanted
            assert ordered(keys_of(page, index), numeric, wanted == "descending"), heading.inner_text()
        assert page.locator("#measurements th[aria-sort]").count() == 1
    assert page.locator("#measurements tbody:has(.notes)").count() == 1  # notes went along with their rows


def test_the_filter_finds_tensors_by_name(rich: Path, visit: Visit) -> None:
    page = visit(rich)
    everything = page.locator(".tensor:visible").count()
    page.locator("#search").fill("CONV11")
    assert page.locator(".tensor:visible").count() == 1
    page.locator("#search").fill("no such tensor")
    assert page.locator(".tensor:visible").count() == 0
    page.locator("#search").fill("")
    assert page.locator(".tensor:visible").count() == everything


def test_the_pointer_the_keyboard_and_a_finger_get_a_points_figures(rich: Path, visit: Visit) -> None:
    page = visit(rich)
    points, readout = page.locator(".wide .point"), page.locator("#readout")
    assert readout.is_hidden()
    for number in range(points.count()):
        point = points.nth(number)
        said = (point.get_attribute("aria-label") or "").split("; ")
        assert re.search(r"accuracy .* %, 95 % interval .*–", said[1])
        assert re.search(r"p50 .* ms, p10–p90 .*–", said[2])
        point.locator("path").hover(force=True)
        assert set(said) <= set(readout.locator("p").all_inner_texts())
        page.mouse.move(5, 5)
        assert readout.is_hidden()
        point.focus()
        assert readout.locator("p").all_inner_texts()[: len(said)] == said
        box, card = readout.bounding_box(), page.locator(".picture").bounding_box()
        assert card["x"] <= box["x"] and box["x"] + box["width"] <= card["x"] + card["width"]
        page.keyboard.press("Escape")
        assert readout.is_hidden()
        page.evaluate("document.activeElement.blur()")
    touched = visit(rich, **PHONE)
    touched.locator(".narrow .point").last.locator(".hit").tap()
    touched.locator("#readout").wait_for()
    assert "tensorrt INT8" in touched.locator("#readout").inner_text()


def test_the_tab_key_goes_from_point_to_point(rich: Path, visit: Visit) -> None:
    page = visit(rich)
    points = page.locator(".wide .point")
    points.first.focus()
    for number in range(1, points.count()):
        page.keyboard.press("Tab")
        wanted = points.nth(number).get_attribute("aria-label")
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == wanted


def test_without_script_points_have_titles_and_all_figures_are_there(rich: Path, visit: Visit) -> None:
    page = visit(rich, java_script_enabled=False)
    assert page.locator(".wide .point title").count() == page.locator("#measurements tbody").count()
    assert "p10–p90" in page.locator(".wide .point title").first.text_content()
    assert page.locator("#search").is_hidden()
    page.locator(".tensor summary").first.click()
    assert page.locator(".tensor .methods").first.is_visible()


def test_the_demos_whole_table_is_in_sight_on_a_laptop(real: Path, visit: Visit) -> None:
    """Its last columns, speed-up and size, are what the model is quantized for."""
    card = visit(real).locator(".scroll:has(#measurements)")
    assert card.evaluate("card => card.scrollWidth <= card.clientWidth")


@pytest.mark.parametrize("name", ["real", "rich", "big", "hostile", "long"])
def test_a_phone_scrolls_the_page_one_way_only(name: str, visit: Visit, request: pytest.FixtureRequest) -> None:
    page = visit(request.getfixturevalue(name), "#t0", **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator(".picture .narrow").first.is_visible()
    assert page.locator(".picture .wide").first.is_hidden()


def test_print_has_everything_that_is_open_in_light_colours_and_no_search_box(rich: Path, visit: Visit) -> None:
    pypdf = pytest.importorskip("pypdf")
    page = visit(rich, "#t11", color_scheme="dark")
    page.evaluate(
        "document.querySelectorAll('.tensor').forEach((tensor, i) => { tensor.open = i < 6 || tensor.open; })"
    )
    page.wait_for_function("document.querySelectorAll('.chart svg').length === 7")
    printed = pypdf.PdfReader(io.BytesIO(page.pdf(format="A4")))
    assert 2 <= len(printed.pages) <= 12
    text = " ".join(" ".join(sheet.extract_text() for sheet in printed.pages).split())
    assert text.count("Chosen because") == 7
    for told in ("Do not ship", "All measurements", "FP16", "conv11", "A few images were copies"):
        assert told in text
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("#search").is_hidden()
    assert page.locator(".picture .wide").is_visible()
    colours = "() => ['--paper', '--c0'].map(name => getComputedStyle(document.documentElement).getPropertyValue(name))"
    assert page.evaluate(colours) == ["#fff", "#0072b2"]


def test_reduced_motion_is_respected(rich: Path, visit: Visit) -> None:
    script = "getComputedStyle(document.querySelector('.tensor summary'), '::before').transitionDuration"
    moving = "() => document.getAnimations().length + [...document.querySelectorAll('*')]" + (
        ".filter(e => parseFloat(getComputedStyle(e).transitionDuration) > 0).length"
    )
    page = visit(rich, reduced_motion="reduce")
    assert page.evaluate(script) == "0s"
    assert page.evaluate(moving) == 0


def test_hostile_names_execute_nothing_and_are_read_as_they_are(hostile: Path, visit: Visit) -> None:
    page = visit(hostile)
    assert page.locator("script").count() == 2
    assert page.locator("img, iframe, object, embed").count() == 0
    assert page.evaluate(
        "[...document.querySelectorAll('*')].every(e => [...e.attributes].every(a => !/^on/.test(a.name)))"
    )
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    page.wait_for_function("document.querySelectorAll('.chart svg').length === 5")
    for point in page.locator(".wide .point").all():
        point.focus()
    assert "</script><script>alert(1)</script>" in page.locator("#measurements").inner_text()
    page.locator("#search").fill(HOSTILE[1])
    assert page.locator(".tensor:visible").count() == 1


def test_the_path_of_what_to_ship_can_be_copied(real: Path, visit: Visit) -> None:
    page = visit(real, permissions=["clipboard-read", "clipboard-write"])
    card = page.get_by_role("region", name="What to ship", exact=True)
    shown = card.locator(".path").inner_text()
    card.get_by_role("button").click()
    card.get_by_text("Copied").wait_for()
    copied = Path(page.evaluate("navigator.clipboard.readText()"))
    assert copied.is_file()
    assert str(copied).endswith(shown)


@pytest.mark.parametrize(("allowed", "said"), [(True, "Copied"), (False, "Selected")])
def test_without_a_clipboard_the_path_is_copied_by_other_means_or_selected(
    allowed: bool, said: str, real: Path, visit: Visit
) -> None:
    page = visit(real, permissions=["clipboard-read", "clipboard-write"])
    page.evaluate("window.clipboard = navigator.clipboard")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    if not allowed:
        page.evaluate("document.execCommand = () => false")
    card = page.get_by_role("region", name="What to ship", exact=True)
    button = card.get_by_role("button")
    button.focus()
    page.keyboard.press("Enter")
    card.get_by_text(said).wait_for()
    path = button.get_attribute("data-copy")
    assert page.get_by_role("status").filter(has_text=said).text_content() == f"{said}: {path}"
    assert button.evaluate("button => button === document.activeElement")
    if allowed:
        assert page.evaluate("clipboard.readText()") == path
    else:
        assert page.evaluate("String(getSelection())") == card.locator(".path").inner_text()


def test_a_word_of_the_glossary_is_explained_to_pointer_keyboard_and_finger(rich: Path, visit: Visit) -> None:
    page = visit(rich)
    word, tip = page.locator(".term").first, page.locator("#tip")
    described = page.locator(f"#{word.get_attribute('aria-describedby')}").text_content()
    for show in (word.focus, word.hover):
        show()
        assert tip.inner_text() == described
        page.keyboard.press("Escape")
        assert tip.is_hidden()
        page.evaluate("document.activeElement.blur()")
        page.mouse.move(2, 2)
    heading = page.locator("#measurements").get_by_role("button", name="SQNR")
    heading.focus()
    assert "Signal to quantization noise" in tip.inner_text()
    touched = visit(rich, **PHONE)
    touched.locator(".term").first.tap()
    assert touched.locator("#tip").is_visible()
    assert touched.evaluate("scrollX === 0 && document.documentElement.scrollWidth === 390")
    plain = visit(rich, java_script_enabled=False)
    plain.locator(".glossary summary").click()
    assert plain.get_by_text(str(described)).is_visible()


def test_on_a_phone_the_figures_are_in_sight_first(real: Path, visit: Visit) -> None:
    page = visit(real, **PHONE)
    card = page.locator(".scroll:has(#measurements)").bounding_box()
    for name in ("Top-1", "Lost", "p50"):
        box = page.locator("#measurements th", has_text=name).first.bounding_box()
        assert box["x"] + box["width"] <= card["x"] + card["width"]


def test_fp16_that_computes_in_fp32_is_one_click_away_and_sorts(folded: Path, visit: Visit) -> None:
    page = visit(folded)
    assert page.locator("#half").is_hidden()
    page.locator("#folded summary").click()
    assert page.locator("#half tbody").count() == 1
    page.locator("#half").get_by_role("button", name="Speed-up").click()
    assert page.locator("#half th[aria-sort=ascending]").count() == 1


def test_names_of_layers_keep_their_room_beside_many_figures(many: Path, visit: Visit) -> None:
    page = visit(many, viewport={"width": 1280, "height": 900})
    title = page.locator(".tensor summary .title").first
    assert title.bounding_box()["width"] >= 200
    assert title.bounding_box()["height"] < 50  # in a line or two, not a letter a line
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(("name", "width"), [("rich", 1280), ("folded", 1200)])
def test_wide_tables_fit_without_scrolling(name: str, width: int, visit: Visit, request: pytest.FixtureRequest) -> None:
    """A GPU's columns, and a detector's, which has more of its own."""
    page = visit(request.getfixturevalue(name), viewport={"width": width, "height": 900})
    card = page.locator(".scroll:has(#measurements)")
    assert card.evaluate("card => card.scrollWidth <= card.clientWidth")
