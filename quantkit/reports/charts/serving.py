"""The chart of requests a second against how long they take, as an SVG for an HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from quantkit.reports.charts.axes import ROOM
from quantkit.reports.charts.glyphs import GLYPHS
from quantkit.reports.charts.labels import Label, place_labels
from quantkit.reports.charts.plot import Axis, Entry, framed
from quantkit.reports.charts.svg import PAGE, Canvas, Mark, Stroke
from quantkit.reports.charts.text import shortened
from quantkit.reports.content.serving import Served, knees

TABLE = "serving"  # the page's table of the same figures
WIDE, NARROW = (820.8, 273.6), (302.4, 302.4)
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2.5), (1.5, 2), (6, 2, 1.5, 2))  # the models of one target, in turns
RING = 15.0


def serving_svg(served: Sequence[Served], targets: Sequence[str], *, narrow: bool = False) -> str:
    """Draw the p99 of requests (x) against the requests a second (y), a line for each model from 1 stream up.

    The knee of each is ringed.

    Args:
        served: The models.
        targets: All targets; their order decides marker and colour, as in the other charts.
        narrow: Draw for a phone.

    Returns:
        An <svg> element; empty if no model was measured with several numbers of streams.
    """
    shown = [own for own in served if len(own.serving.loads) > 1]
    if not shown:
        return ""
    canvas = Canvas(*(NARROW if narrow else WIDE), PAGE)
    nth: Counter[str] = Counter()
    entries = []
    for own in shown:
        index = targets.index(own.target) % len(GLYPHS) if own.target in targets else 0
        colour = PAGE.series[index]
        line = Stroke(colour, 1.2, DASHES[nth[own.target] % len(DASHES)])
        entries.append(Entry(shortened(own.title), line, Mark(index, 7.5, colour, PAGE.paper, 0.6)))
        nth[own.target] += 1
    plot = framed(canvas, *_axes(shown, narrow), entries)
    labels = []
    for own, entry in zip(shown, entries, strict=True):
        places = [(plot.x(load.p99_ms or _least(shown)), plot.y(load.per_second)) for load in own.serving.loads]
        assert entry.stroke is not None and entry.mark is not None
        canvas.line(places, entry.stroke)
        for place in places:
            canvas.mark(entry.mark, *place)
        x, y = places[own.serving.loads.index(own.serving.knee)]
        canvas.mark(Mark(0, RING, "none", entry.stroke.colour, 1.2), x, y)
        labels.append(Label(x, y, str(own.serving.knee.streams), entry.stroke.colour))
    for placed in place_labels(labels, plot.inside):
        canvas.label(placed)
    return canvas.html(
        title="Requests a second against their p99",
        description=" ".join(knees(shown)),
        prefix="quantkit-serving-narrow" if narrow else "quantkit-serving",
        grouped=False,
        table=TABLE,
    )


def _axes(shown: Sequence[Served], narrow: bool) -> tuple[Axis, Axis]:
    loads = [load for own in shown for load in own.serving.loads]
    low = _least(shown)
    high = max(max(load.p99_ms for load in loads), low)
    room = max((high / low) ** ROOM, 1.05)
    x = Axis("p99 of a request, ms  (← better)", low / room, high * room, "{:g}".format, 4 if narrow else 8, True)
    most = max(load.per_second for load in loads)
    return x, Axis("Requests/s  (better →)", 0.0, most * (1 + ROOM), _whole if most >= 10 else "{:g}".format, 6)


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _least(shown: Sequence[Served]) -> float:
    """Return the smallest p99 that a logarithmic axis can show."""
    return min((load.p99_ms for own in shown for load in own.serving.loads if load.p99_ms > 0), default=1.0)
