"""The chart of SQNR along the depth of the network, as an SVG for an HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from quantkit.core.comparison import LayerError
from quantkit.core.decibels import NOT_FINITE_DB
from quantkit.reports import wording
from quantkit.reports.charts.axes import nice_ticks
from quantkit.reports.charts.glyphs import GLYPHS
from quantkit.reports.charts.labels import HEIGHT as LABEL_HEIGHT
from quantkit.reports.charts.labels import SIZE as LABEL_SIZE
from quantkit.reports.charts.labels import Label, Placed
from quantkit.reports.charts.plot import Axis, Entry, Plot, framed
from quantkit.reports.charts.svg import PAGE, Canvas, Mark, Stroke
from quantkit.reports.charts.text import one_line, shortened, text_width
from quantkit.reports.content.layer_errors import Fall, Series, steepest_fall, worst_named

FEWEST_LAYERS = 3  # with fewer there is no chart
WIDE, NARROW = (820.8, 223.2), (302.4, 259.2)


def depth_svg(series: Sequence[Series], targets: Sequence[str], *, narrow: bool = False) -> str:
    """Draw layers in the model's order (x) against their SQNR in dB (y), with a mark for each layer and series.

    Bit-exact outputs have no mark; outputs that are not finite are drawn at the bottom edge.

    Args:
        series: The layer errors of each INT8 row.
        targets: All targets; their order decides marker and colour, as in
            :func:`quantkit.reports.charts.scatter.scatter_svg`. The second series of a target is hollow.
        narrow: Draw for a phone.

    Returns:
        An <svg> element; empty if there are too few layers.
    """
    places = _places(series)
    figures = [e.sqnr_db for one in series for e in one.row.layer_errors if e.sqnr_db is not None]
    finite = [value for value in figures if value > NOT_FINITE_DB]
    if len(places) < FEWEST_LAYERS or not finite:
        return ""
    canvas = Canvas(*(NARROW if narrow else WIDE), PAGE)
    colours = [targets.index(one.target) % len(GLYPHS) for one in series]
    size = 6.0 if narrow else 8.0
    entries = [
        _entry(one, colour, size + 2 * (len(series) - 1 - number))
        for number, (one, colour) in enumerate(zip(series, colours, strict=True))
    ]
    plot = framed(canvas, *_axes(finite, len(places), narrow), entries if len(series) > 1 else ())
    for one, entry in zip(series, entries, strict=True):
        _draw(canvas, plot, one, entry, places)
    _label(canvas, plot, series, places, colours)
    fall = steepest_fall(series)
    return canvas.html(
        title="SQNR of each layer's output",
        description=f"{len(places)} layers; {worst_named(series)} {_told(fall)}All of them are listed below.",
        prefix="quantkit-depth-narrow" if narrow else "quantkit-depth",
        grouped=False,
        table="tensors",
    )


def _places(series: Sequence[Series]) -> dict[str, int]:
    """Number all tensors in the model's order, from 1. A series may lack tensors that another has."""
    places: dict[str, int] = {}
    longest = max(series, key=lambda one: len(one.row.layer_errors), default=None)
    for one in [longest] * (longest is not None) + [one for one in series if one is not longest]:
        for error in one.row.layer_errors if one else ():
            places.setdefault(error.tensor, len(places) + 1)
    return places


def _axes(finite: Sequence[float], layers: int, narrow: bool) -> tuple[Axis, Axis]:
    margin = 0.06 * (max(finite) - min(finite)) or 1.0
    room = (5 if narrow else 4) * margin  # for the label
    counted = [value for value in nice_ticks(1, layers, 5 if narrow else 12) if value == int(value) and value >= 1]
    x = Axis("Layer, in the model's order", 0.5, layers + 0.5, "{:.0f}".format, ticks=tuple(counted))
    y = Axis("SQNR, dB  (better →)", min(finite) - room, max(finite) + margin, _decibels, 7)
    return x, y


def _decibels(value: float) -> str:
    return f"{value:g}".replace("-", wording.MINUS)


def _entry(one: Series, index: int, size: float) -> Entry:
    """Return how a series is drawn. Later ones are on top with smaller marks, so that equal figures show twice."""
    colour = PAGE.series[index]
    fill, edge = (PAGE.paper, colour) if one.nth else (colour, PAGE.paper)
    return Entry(
        shortened(one.label),
        Stroke(colour, 0.8, (3.0, 1.5) if one.nth else ()),
        Mark(index, size, fill, edge, 1.0 if one.nth else 0.6),
    )


def _draw(canvas: Canvas, plot: Plot, one: Series, entry: Entry, places: dict[str, int]) -> None:
    told = sorted((places[e.tensor], e.sqnr_db) for e in one.row.layer_errors if e.sqnr_db is not None)
    drawn = [(plot.x(x), plot.y(max(y, plot.y.low))) for x, y in told]
    assert entry.stroke is not None and entry.mark is not None
    canvas.line(drawn, entry.stroke)
    for x, y in drawn:
        canvas.mark(entry.mark, x, y)


def _told(fall: Fall | None) -> str:
    return "" if fall is None else f"It falls most, by {fall.decibels:.1f} dB, at {fall.error.kind} {fall.error.name}. "


def _label(
    canvas: Canvas, plot: Plot, series: Sequence[Series], places: dict[str, int], colours: Sequence[int]
) -> None:
    """Label the steepest fall with its height and the end of the layer's name; the worst layer if there is no fall."""
    fall = steepest_fall(series)
    if fall is not None:
        error, colour, figure = fall.error, colours[fall.number], f"falls {fall.decibels:.1f} dB"
    else:
        error, colour = _worst(series, colours)
        figure = f"{wording.sqnr(error.sqnr_db)} dB"
    x, y = plot.x(places[error.tensor]), plot.y(error.sqnr_db or 0.0)
    text = f"{figure}: {shortened(one_line(error.name)[::-1])[::-1]}"
    width = text_width(text, LABEL_SIZE)
    left, _, right, bottom = plot.inside
    start = min(max(x - width / 2, left + 3), right - 3 - width)
    middle = bottom - 2 - LABEL_HEIGHT / 2  # in the room below all marks, with a line to its own
    box = (start, middle - LABEL_HEIGHT / 2, start + width, middle + LABEL_HEIGHT / 2)
    label = Label(x, y, text, PAGE.series[colour])
    canvas.leader((min(max(x, start), start + width), box[1]), (x, y), label.colour)
    canvas.label(Placed(label, start, middle, "start", box, False))


def _worst(series: Sequence[Series], colours: Sequence[int]) -> tuple[LayerError, int]:
    """Return the finite error with the least SQNR, and its series' colour."""
    found = [
        (error.sqnr_db, number, error, colour)
        for one, colour in zip(series, colours, strict=True)
        for number, error in enumerate(one.row.layer_errors)
        if error.sqnr_db is not None and error.sqnr_db > NOT_FINITE_DB
    ]
    _, _, error, colour = min(found, key=lambda one: one[:2])
    return error, colour
