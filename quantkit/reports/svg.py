"""matplotlib's SVG made fit to stand inside an HTML page whose style sheet decides the colours."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from quantkit.reports.labels import LABEL

SERIES_COLOURS = 6  # --c0 … --c5
SVG = "http://www.w3.org/2000/svg"
XLINK_HREF = "{http://www.w3.org/1999/xlink}href"

# Stand-ins to draw with; for_html() puts the style sheet's variables in their place, so that dark mode works.
INK, GRID, FRONT, PAPER = "#010101", "#020202", "#030303", "#040404"
SERIES = tuple(f"#1{i}1{i}1{i}" for i in range(SERIES_COLOURS))
_VARIABLES = {INK: "currentColor", GRID: "var(--grid)", FRONT: "var(--muted)", PAPER: "var(--paper)"} | {
    stand_in: f"var(--c{i})" for i, stand_in in enumerate(SERIES)
}


def for_html(document: str, *, title: str, description: str, prefix: str) -> str:
    """An SVG document as an <svg> element: scalable, named for screen readers, in the page's font and colours.

    ``prefix`` makes the ids of the title and the description unique in the page.
    """
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(document)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):  # its rule * {…} would reach the whole page
                parent.remove(child)
    for element in root.iter():
        if style := element.get("style"):
            style = re.sub("#[0-9a-f]{6}", lambda match: _VARIABLES.get(match[0], match[0]), style)
            element.set("style", re.sub(r"font-family:[^;]*;?", "", style))
        if element.tag == f"{{{SVG}}}g" and (group := element.attrib.pop("id", "")) == LABEL:
            element.set("class", group)
        if target := element.attrib.pop(XLINK_HREF, None):
            element.set("href", target)  # the HTML parser knows this name without a namespace
    names = {"title": title, "desc": description}
    for position, (tag, text) in enumerate(names.items()):
        child = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": f"{prefix}-{tag}"})
        child.text = text
        root.insert(position, child)
    root.set("role", "img")
    root.set("aria-labelledby", " ".join(f"{prefix}-{tag}" for tag in names))
    return ElementTree.tostring(root, encoding="unicode")
