"""What charts are made of: SVG elements in the colours of the page's style sheet, or in a file's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from quantkit.reports.charts.glyphs import GLYPHS
from quantkit.reports.charts.labels import SIZE as LABEL_SIZE
from quantkit.reports.charts.labels import Placed
from quantkit.reports.charts.text import one_line

SERIES_COLOURS = len(GLYPHS)  # --c0 … --c5
TABLE = "measurements"  # the page's table of the same figures
HIT_RADIUS = 13  # the size of the area that reacts to a finger or a pointer, in the chart's units
FONTS = "Arial, Helvetica, 'Liberation Sans', 'Noto Sans', 'DejaVu Sans', Aileron, sans-serif"  # of a file of its own
BASELINE = 0.36  # of the font's size, from the middle of a line of text down to its baseline


@dataclass(frozen=True)
class Palette:
    """The colours of a chart: text, grid, Pareto front, background, and one for each target."""

    ink: str
    grid: str
    front: str
    paper: str
    series: tuple[str, ...]


# The style sheet's variables, so that dark mode works.
PAGE = Palette(
    "currentColor",
    "var(--grid)",
    "var(--muted)",
    "var(--paper)",
    tuple(f"var(--c{index})" for index in range(SERIES_COLOURS)),
)
# The style sheet's light colours, for a chart in a file of its own.
LIGHT = Palette(
    "#1b2027", "#dfe3e8", "#5b6673", "#ffffff", ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
)


@dataclass(frozen=True)
class Stroke:
    """How a line is drawn: its colour, its width, its dashes and its opacity."""

    colour: str
    width: float = 1.0
    dashes: tuple[float, ...] = ()
    opacity: float = 1.0

    @property
    def style(self) -> str:
        """The CSS of it."""
        dashed = f";stroke-dasharray:{','.join(f'{length:g}' for length in self.dashes)}" if self.dashes else ""
        faint = f";stroke-opacity:{self.opacity:g}" if self.opacity < 1 else ""
        return f"fill:none;stroke:{self.colour};stroke-width:{self.width:g}{dashed}{faint}"


@dataclass(frozen=True)
class Mark:
    """A marker: its glyph, the side of the glyph's box of 16 × 16, its colours, and how wide its edge is."""

    glyph: int
    side: float
    fill: str
    edge: str
    edge_width: float = 1.0

    def at(self, x: float, y: float) -> Markup:
        """Return it with its middle at a place."""
        scale = self.side / 16
        style = f"fill:{self.fill};stroke:{self.edge};stroke-width:{self.edge_width / scale:.3g}"
        place = f"translate({x - self.side / 2:.2f} {y - self.side / 2:.2f}) scale({scale:.4g})"
        return Markup('<path d="{}" transform="{}" style="{}"/>').format(GLYPHS[self.glyph], place, style)


@dataclass
class Canvas:
    """A chart under way.

    Attributes:
        width: Its width, in its units; a font of 10 is like the page's small print.
        height: Its height.
        palette: Its colours.
        focusable: True for a page, where points can be reached by keyboard; a file shows their figures on hover alone.
    """

    width: float
    height: float
    palette: Palette
    focusable: bool = True
    parts: list[Markup] = field(default_factory=list)

    def path(self, d: str, stroke: Stroke) -> None:
        """Draw a path."""
        self.parts.append(Markup('<path d="{}" style="{}"/>').format(d, stroke.style))

    def line(self, places: Iterable[tuple[float, float]], stroke: Stroke) -> None:
        """Draw straight lines from place to place."""
        told = "L".join(f"{x:.2f} {y:.2f}" for x, y in places)
        if told:
            self.path(f"M{told}", stroke)

    def mark(self, mark: Mark, x: float, y: float) -> None:
        """Draw a marker."""
        self.parts.append(mark.at(x, y))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        anchor: str = "start",
        colour: str = "",
        size: float = 10.0,
        turned: bool = False,
        bold: bool = False,
    ) -> None:
        """Write a text whose middle line is at ``y``; ``turned`` runs upwards through its place.

        Readers of the screen are told the title, the description and the points instead.
        """
        self.parts.append(_text(x, y, text, anchor, colour or self.palette.ink, size, turned, bold))

    def point(self, facts: Sequence[str], mark: Mark, x: float, y: float) -> None:
        """Draw a marker that tells its figures."""
        title = Markup("<title>{}</title>").format("\n".join(facts))
        if not self.focusable:
            self.parts.append(Markup("<g>{}{}</g>").format(title, mark.at(x, y)))
            return
        self.parts.append(
            Markup(
                '<g class="point" tabindex="0" role="img" aria-label="{}">{}{}'
                '<circle class="hit" r="{}" cx="{}" cy="{}"/></g>'
            ).format("; ".join(facts), title, mark.at(x, y), HIT_RADIUS, f"{x:.2f}", f"{y:.2f}")
        )

    def label(self, placed: Placed) -> None:
        """Write a label on a halo of the background, with a leader to its point where it is far from it."""
        own = placed.label
        if placed.far:
            left, top, right, bottom = placed.box
            near = (min(max(own.x, left), right), min(max(own.y, top), bottom))
            self.leader(near, (own.x, own.y), own.colour)
        told = _text(placed.x, placed.y, own.text, placed.anchor, own.colour, LABEL_SIZE, False, True)
        paper = "" if self.focusable else f' style="paint-order:stroke;stroke:{self.palette.paper};stroke-width:3px"'
        self.parts.append(Markup('<g class="label"{}>{}</g>').format(Markup(paper), told))

    def leader(self, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
        """Draw a thin line that ends shortly before ``end``."""
        (x, y), (to_x, to_y) = start, end
        length = ((to_x - x) ** 2 + (to_y - y) ** 2) ** 0.5
        if length > 5:
            share = 1 - 5 / length
            self.line([start, (x + share * (to_x - x), y + share * (to_y - y))], Stroke(colour, 0.7))

    def html(self, *, title: str, description: str, prefix: str, grouped: bool, table: str = TABLE) -> str:
        """Return a scalable, accessible <svg> element.

        Args:
            title: The title of the chart.
            description: The description for screen readers.
            prefix: Makes ids unique in the page.
            grouped: True if there are points to tell; what is in a mere image is told to nobody.
            table: The id of the element that holds the same figures as text.

        Returns:
            The element.
        """
        role = Markup('role="{}" aria-details="{}"').format("group" if grouped else "img", table)
        return self._framed(title, description, prefix, role)

    def file(self, *, title: str, description: str) -> str:
        """Return an SVG document with a background and fonts of its own."""
        role = Markup('role="img" width="{}pt" height="{}pt" font-family="{}"').format(self.width, self.height, FONTS)
        paper = Markup('<path d="M0 0H{}V{}H0z" style="fill:{}"/>').format(self.width, self.height, self.palette.paper)
        self.parts.insert(0, paper)
        drawn = self._framed(title, description, "chart", role)
        return f'<?xml version="1.0" encoding="utf-8"?>\n<!-- quantkit chart -->\n{drawn}\n'

    def _framed(self, title: str, description: str, prefix: str, attributes: Markup) -> str:
        head = Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" {} '
            'aria-labelledby="{}-title" aria-describedby="{}-desc">\n'
            '<title id="{}-title">{}</title>\n<desc id="{}-desc">{}</desc>'
        ).format(
            self.width,
            self.height,
            attributes,
            *[prefix] * 3,
            one_line(title),
            prefix,
            one_line(description),
        )
        return str(Markup("\n").join([head, *self.parts, Markup("</svg>")]))


def _text(x: float, y: float, text: str, anchor: str, colour: str, size: float, turned: bool, bold: bool) -> Markup:
    weight = ";font-weight:700" if bold else ""
    style = f"font-size:{size:g}px;text-anchor:{anchor};fill:{colour}{weight}"
    baseline = y + BASELINE * size
    around = f' transform="rotate(-90 {x:.2f} {y:.2f})"' if turned else ""
    return Markup('<text x="{}" y="{}"{} style="{}" aria-hidden="true">{}</text>').format(
        f"{x:.2f}", f"{baseline:.2f}", Markup(around), style, escape(text)
    )
