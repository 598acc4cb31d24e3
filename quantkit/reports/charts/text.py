"""How wide texts are in the page's font, as far as their places depend on it, and names that fit into a chart."""

from __future__ import annotations

import unicodedata

LONGEST_NAME = 28
SIZE = 10.0  # of a chart's font, in its units
# Characters by about their width in bold Helvetica or Arial, in ems.
_WIDTHS = {
    character: width
    for width, characters in (
        (0.28, " ,./I\\ijl|'"),
        (0.34, "!()-:;[]`ft"),
        (0.39, '*r{}"'),
        (0.56, "#$0123456789_aceksvxyz?L"),
        (0.61, "+<=>FTZbdghnopqu^~"),
        (0.67, "EPSVXY"),
        (0.72, "&ABCDHKNRU"),
        (0.78, "GOQw"),
        (0.84, "M"),
        (0.9, "%mW@→←"),
    )
    for character in characters
}
_OTHER, _WIDE = 0.62, 1.0  # wide ones are those of East Asia
_ROOM = 1.14  # for fonts that run wider, such as DejaVu Sans


def text_width(text: str, size: float = SIZE) -> float:
    """Return about how wide a text is, in the unit of ``size``; rather too wide than too narrow."""
    return (
        _ROOM * size * sum(_WIDTHS.get(c, _WIDE if unicodedata.east_asian_width(c) in "WF" else _OTHER) for c in text)
    )


def one_line(text: str) -> str:
    """Return a text without control characters and line breaks."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def shortened(name: str) -> str:
    """Shorten a name to fit in the chart, on one line."""
    name = one_line(name)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
