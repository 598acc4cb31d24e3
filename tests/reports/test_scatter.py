"""The picture of accuracy against latency."""

from __future__ import annotations

import io
import re
import sys
from xml.etree import ElementTree

import pytest
from PIL import Image

from quantkit.core.comparison import Latency
from quantkit.core.errors import BackendMissing
from quantkit.core.overwriting import CHART_MARK
from quantkit.reports.charts.scatter import scatter_file, scatter_svg
from quantkit.reports.charts.svg import LIGHT, SERIES_COLOURS
from quantkit.reports.content.points import Point, pareto_front
from quantkit.reports.html import GLYPHS
from tests.reports.builders import HOSTILE, comparison, reference_row, row

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("narrow", [False, True])
def test_is_a_named_picture_of_every_row(narrow: bool) -> None:
    svg = scatter_svg(comparison(reference_row(), row("fp16"), row()), narrow=narrow)
    root = ElementTree.fromstring(svg)
    assert root.attrib["role"] == "group"
    described = root.find(f"{SVG}desc")
    assert described is not None
    assert "openvino int8 90.0 % at 2 ms" in (described.text or "")
    assert {"FP32", "FP16", "INT8", "openvino"} <= set(texts(svg))
    assert {element.attrib["id"] for element in root.iter() if "id" in element.attrib} >= {
        root.attrib["aria-labelledby"],
        root.attrib["aria-describedby"],
    }


def test_colours_are_left_to_the_style_sheet_and_bytes_are_reproducible() -> None:
    compared = comparison()
    svg = scatter_svg(compared)
    assert svg == scatter_svg(compared)
    assert "var(--c0)" in svg
    assert not re.search(r"#[0-9a-f]{6}\b(?!\))", re.sub(r'(href="|url\()#\w+', "", svg))
    assert "font-family" not in svg
    assert "<style" not in svg
    assert SERIES_COLOURS == len(LIGHT.series) == len(GLYPHS)


def test_the_two_widths_share_no_id() -> None:
    wide, narrow = (set(re.findall(r'\bid="([^"]+)"', scatter_svg(comparison(), narrow=n))) for n in (False, True))
    assert wide
    assert not wide & narrow


def test_hostile_names_stay_text() -> None:
    rows = [r for name in HOSTILE for r in (reference_row(target=name), row(target=name, variant=name))]
    svg = scatter_svg(comparison(*rows))
    assert "<script" not in svg
    assert "<img" not in svg
    assert any("$x_1^2$" in text for text in texts(svg))


def test_unlabelled_rows_show_agreement() -> None:
    svg = scatter_svg(comparison(reference_row(None), row(top1=None)))
    assert any(text.startswith("Agreement with FP32") for text in texts(svg))
    assert "95 % interval" not in texts(svg)


def test_wide_spread_gets_a_logarithmic_axis() -> None:
    slow = row("fp16", latency_ms=Latency(p10=180, p50=200, p90=230, p99=250))
    labels = texts(scatter_svg(comparison(reference_row(), row(), slow)))
    assert {"10", "100"} <= set(labels)


def test_many_targets_and_one_row() -> None:
    assert scatter_svg(comparison(*(row(target=f"target{i}") for i in range(9))))
    assert scatter_svg(comparison(reference_row()))


def test_no_rows_no_picture() -> None:
    assert scatter_svg(comparison().model_copy(update={"rows": ()})) == ""


def test_pareto_front_leaves_out_what_is_beaten() -> None:
    def point(x: float, y: float) -> Point:
        return Point(row(), x, y, y, y)

    points = [point(5, 91), point(2, 90), point(3, 89), point(2, 88), point(6, 91)]
    assert [(p.x, p.y) for p in pareto_front(points)] == [(2, 90), (5, 91)]


def test_every_point_tells_its_figures() -> None:
    root = ElementTree.fromstring(scatter_svg(comparison(reference_row(), row())))
    points = [element for element in root.iter(f"{SVG}g") if element.get("class") == "point"]
    assert [point.attrib["tabindex"] for point in points] == ["0", "0"]
    assert points[1].attrib["aria-label"] == (
        "openvino INT8 (entropy); Top-1 accuracy 90.0 %, 95 % interval 86.0–94.0 %; "
        "Latency p50 2 ms, p10–p90 1.8–2.4 ms; 2.50x FP32's speed, SQNR 25.3 dB; Agrees with FP32 on 99.0 %; "
        "On the Pareto front: none is both faster and better"
    )
    assert points[1].findtext(f"{SVG}title") == points[1].attrib["aria-label"].replace("; ", "\n")


def test_a_file_stands_alone() -> None:
    compared = comparison(reference_row(), *(row(target=name, variant=name) for name in HOSTILE))
    svg = scatter_file(compared, "svg").decode()
    root = ElementTree.fromstring(svg)
    assert float(root.attrib["width"].removesuffix("pt")) > 800
    assert "var(--" not in svg and "currentColor" not in svg
    assert all(colour in svg for colour in (LIGHT.ink, LIGHT.grid, *LIGHT.series[:5]))
    assert not [element for element in root.iter() if element.tag.rpartition("}")[2] in ("script", "img")]
    assert svg.encode() == scatter_file(compared, "svg")


def test_a_png_is_the_same_picture() -> None:
    pytest.importorskip("resvg_py")
    compared = comparison(reference_row(), *(row(target=name, variant=name) for name in HOSTILE))
    content = scatter_file(compared, "png")
    assert CHART_MARK in content[:4096]
    image = Image.open(io.BytesIO(content))
    assert image.size == (2280, 860)
    colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20) or []}
    assert {tuple(bytes.fromhex(colour[1:])) for colour in LIGHT.series[:5]} <= colours


def test_a_png_without_its_package_is_refused_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)  # as where it is not installed
    with pytest.raises(BackendMissing, match="resvg-py is missing") as refused:
        scatter_file(comparison(), "png")
    assert "quantkit-int8[png]" in refused.value.hint
