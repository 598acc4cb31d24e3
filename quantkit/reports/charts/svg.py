"""Adapts matplotlib's SVG to an HTML page, whose style sheet decides the colours, or to a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from quantkit.reports.charts.labels import LABEL

SERIES_COLOURS = 6  # --c0 … --c5
SVG = "http://www.w3.org/2000/svg"
XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
POINT = "point-"  # the groups of the points: point-0, point-1 …
TABLE = "measurements"  # the page's table of the same figures
HIT_RADIUS = "13"  # the size of the area that reacts to a finger or a pointer, in the chart's units


@dataclass(frozen=True)
class Palette:
    """The colours of a chart: text, grid, Pareto front, background, and one for each target."""

    ink: str
    grid: str
    front: str
    paper: str
    series: tuple[str, ...]


# Placeholder colours; for_html() replaces them with the style sheet's variables, so that dark mode works.
STAND_INS = Palette("#010101", "#020202", "#030303", "#040404", tuple(f"#1{i}1{i}1{i}" for i in range(SERIES_COLOURS)))
# The style sheet's light colours, for a chart in a file of its own.
LIGHT = Palette(
    "#1b2027", "#dfe3e8", "#5b6673", "#ffffff", ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
)
_VARIABLES = {
    STAND_INS.ink: "currentColor",
    STAND_INS.grid: "var(--grid)",
    STAND_INS.front: "var(--muted)",
    STAND_INS.paper: "var(--paper)",
} | {stand_in: f"var(--c{i})" for i, stand_in in enumerate(STAND_INS.series)}


def for_html(
    document: str,
    *,
    title: str,
    description: str,
    prefix: str,
    facts: Sequence[Sequence[str]] = (),
    table: str = TABLE,
) -> str:
    """Convert an SVG document to a scalable, accessible <svg> element in the page's font and colours.

    Args:
        document: The SVG document from matplotlib.
        title: The title of the chart.
        description: The description for screen readers.
        prefix: Makes ids unique in the page.
        facts: The lines that describe each point.
        table: The id of the element that holds the same figures as text.

    Returns:
        The <svg> element.
    """
    root = _parsed(document)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):  # its rule * {…} would affect the whole page
                parent.remove(child)
    _tell_points(root, facts, focusable=True)
    for element in root.iter():
        if style := element.get("style"):
            style = re.sub("#[0-9a-f]{6}", lambda match: _VARIABLES.get(match[0], match[0]), style)
            element.set("style", re.sub(r"font-family:[^;]*;?", "", style))
        if element.tag == f"{{{SVG}}}g" and (group := element.attrib.pop("id", "")) == LABEL:
            element.set("class", group)
        if element.tag == f"{{{SVG}}}text":
            element.set("aria-hidden", "true")  # ticks and labels; the points have descriptions
        if target := element.attrib.pop(XLINK_HREF, None):
            element.set("href", target)  # the HTML parser knows this name without a namespace
    _name(root, title, description, prefix)
    root.set("role", "group" if facts else "img")  # the children of an img are not accessible
    root.set("aria-details", table)
    return ElementTree.tostring(root, encoding="unicode")


def for_file(document: str, *, title: str, description: str, facts: Sequence[Sequence[str]], paper: str) -> str:
    """Convert an SVG document to a file of its own.

    Args:
        document: The SVG document from matplotlib.
        title: The title of the chart.
        description: The description for screen readers.
        facts: The lines that describe each point, shown as tooltips.
        paper: The background colour.

    Returns:
        The SVG document.
    """
    root = _parsed(document)
    _tell_points(root, facts, focusable=False)
    for group in root.iter(f"{{{SVG}}}g"):
        if group.get("id") == LABEL:
            group.attrib.pop("id")
            group.set("style", f"paint-order: stroke; stroke: {paper}; stroke-width: 3px; stroke-linejoin: round")
            for line in group.iter(f"{{{SVG}}}path"):  # the leader keeps its own stroke
                line.set("style", f"{line.get('style', '')}; stroke-width: 0.7px")
    _name(root, title, description, "chart")
    root.set("role", "img")
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<!-- quantkit chart -->\n'
        + ElementTree.tostring(root, encoding="unicode")
        + "\n"
    )


def _parsed(document: str) -> ElementTree.Element:
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    return ElementTree.fromstring(document)


def _name(root: ElementTree.Element, title: str, description: str, prefix: str) -> None:
    for position, (tag, text) in enumerate({"title": title, "desc": description}.items()):
        child = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": f"{prefix}-{tag}"})
        child.text = text
        root.insert(position, child)
    root.set("aria-labelledby", f"{prefix}-title")
    root.set("aria-describedby", f"{prefix}-desc")


def _tell_points(root: ElementTree.Element, facts: Sequence[Sequence[str]], focusable: bool) -> None:
    """Add each point's figures as a <title>; if ``focusable``, also make it focusable and enlarge its active area."""
    for group in root.iter(f"{{{SVG}}}g"):
        name = group.get("id", "")
        if not name.startswith(POINT):
            continue
        lines = facts[int(name.removeprefix(POINT))]
        if focusable:
            marker = group.find(f".//{{{SVG}}}use")
            assert marker is not None
            centre = {"cx": marker.get("x", "0"), "cy": marker.get("y", "0")}
            group.append(ElementTree.Element(f"{{{SVG}}}circle", {"class": "hit", "r": HIT_RADIUS, **centre}))
            group.attrib |= {"class": "point", "tabindex": "0", "role": "img", "aria-label": "; ".join(lines)}
        title = ElementTree.Element(f"{{{SVG}}}title")
        title.text = "\n".join(lines)
        group.insert(0, title)
