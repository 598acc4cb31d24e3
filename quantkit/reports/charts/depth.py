"""The chart of SQNR along the depth of the network, as an SVG for an HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Any

from quantkit.core.decibels import NOT_FINITE_DB
from quantkit.reports import wording
from quantkit.reports.charts.labels import LABEL
from quantkit.reports.charts.scatter import MARKERS
from quantkit.reports.charts.style import decorate, drawing, legend, shortened
from quantkit.reports.charts.svg import STAND_INS, for_html
from quantkit.reports.content.layer_errors import Fall, Series, steepest_fall, worst_named

FEWEST_LAYERS = 3  # with fewer there is no chart


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
    from matplotlib.figure import Figure

    salt = "quantkit-depth-narrow" if narrow else "quantkit-depth"
    with drawing(salt):
        figure = Figure(figsize=(4.2, 3.6) if narrow else (11.4, 3.1), layout="constrained")
        axes = figure.add_subplot()
        margin = 0.06 * (max(finite) - min(finite)) or 1.0
        bottom = min(finite) - 3.0 * margin  # room for the label
        axes.set_ylim(bottom, max(finite) + margin)
        axes.set_xlim(0.5, len(places) + 0.5)
        colours = [targets.index(one.target) % len(MARKERS) for one in series]
        size = 4.0 if narrow else 5.5
        handles = [
            _draw(axes, one, places, colour, bottom, size + 1.5 * (len(series) - 1 - number))
            for number, (one, colour) in enumerate(zip(series, colours, strict=True))
        ]
        _axes(axes, narrow)
        if len(series) > 1:
            columns = 1 if narrow else min(len(series), 4)
            legend(figure, handles, [shortened(one.label) for one in series], columns, STAND_INS)
        _label(axes, series, places, colours)
        out = StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    fall = steepest_fall(series)
    description = f"{len(places)} layers; {worst_named(series)} {_told(fall)}All of them are listed below."
    return for_html(
        out.getvalue(), title="SQNR of each layer's output", description=description, prefix=salt, table="tensors"
    )


def _places(series: Sequence[Series]) -> dict[str, int]:
    """Number all tensors in the model's order, from 1. A series may lack tensors that another has."""
    places: dict[str, int] = {}
    longest = max(series, key=lambda one: len(one.row.layer_errors), default=None)
    for one in [longest] * (longest is not None) + [one for one in series if one is not longest]:
        for error in one.row.layer_errors if one else ():
            places.setdefault(error.tensor, len(places) + 1)
    return places


def _draw(axes: Any, one: Series, places: dict[str, int], index: int, bottom: float, size: float) -> Any:
    """Draw a series. Later ones are on top with smaller marks, so that equal figures are visible twice."""
    colour = STAND_INS.series[index]
    told = [(places[e.tensor], max(e.sqnr_db, bottom)) for e in one.row.layer_errors if e.sqnr_db is not None]
    marks = {
        "marker": MARKERS[index],
        "markersize": size,
        "color": colour,
        "markerfacecolor": STAND_INS.paper if one.nth else colour,
        "markeredgecolor": colour if one.nth else STAND_INS.paper,
        "markeredgewidth": 1.0 if one.nth else 0.6,
        "linewidth": 0.8,
        "linestyle": "--" if one.nth else "-",
        "clip_on": False,
    }
    return axes.plot([x for x, _ in sorted(told)], [y for _, y in sorted(told)], zorder=3, **marks)[0]


def _told(fall: Fall | None) -> str:
    return "" if fall is None else f"It falls most, by {fall.decibels:.1f} dB, at {fall.error.kind} {fall.error.name}. "


def _label(axes: Any, series: Sequence[Series], places: dict[str, int], colours: Sequence[int]) -> None:
    """Label the steepest fall with its height and the end of the layer's name; the worst layer if there is no fall."""
    fall = steepest_fall(series)
    if fall is not None:
        y, error, colour = fall.error.sqnr_db, fall.error, colours[fall.number]
        figure = f"falls {fall.decibels:.1f} dB"
    else:
        y, _, error, colour = min(
            (
                (error.sqnr_db, places[error.tensor], error, colour)
                for one, colour in zip(series, colours, strict=True)
                for error in one.row.layer_errors
                if error.sqnr_db is not None and error.sqnr_db > NOT_FINITE_DB
            ),
            key=lambda found: found[:2],
        )
        figure = f"{wording.sqnr(y)} dB"
    x = places[error.tensor]
    share = x / len(places)
    side = 0.0 if share < 1 / 3 else 1.0 if share > 2 / 3 else 0.5  # of the label that is below the mark
    axes.annotate(
        f"{figure}: {shortened(error.name[::-1])[::-1]}",
        (x, y),
        (x, axes.get_ylim()[0]),
        ha={0.0: "left", 0.5: "center", 1.0: "right"}[side],
        va="bottom",  # in the room below all marks, with a line to its own
        color=STAND_INS.series[colour],
        weight="bold",
        fontsize=9,
        parse_math=False,
        arrowprops={
            "arrowstyle": "-",
            "color": STAND_INS.series[colour],
            "linewidth": 0.7,
            "shrinkB": 4,
            "relpos": (side, 1.0),
        },
    ).set_gid(LABEL)


def _axes(axes: Any, narrow: bool) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5 if narrow else 12, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: wording.signed(value, 0)))
    axes.set_xlabel("Layer, in the model's order", color=STAND_INS.ink)
    axes.set_ylabel("SQNR, dB  (better →)", color=STAND_INS.ink)
    decorate(axes, STAND_INS)
