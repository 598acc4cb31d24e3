"""The chart of requests a second against how long they take, as an SVG for an HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from io import StringIO
from typing import Any

from quantkit.reports.charts.scatter import MARKERS
from quantkit.reports.charts.style import decorate, drawing, legend, shortened
from quantkit.reports.charts.svg import STAND_INS, for_html
from quantkit.reports.content.serving import Served, knees

TABLE = "serving"  # the page's table of the same figures
DASHES = ("-", "--", ":", "-.")  # the models of one target, in turns


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
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    salt = "quantkit-serving-narrow" if narrow else "quantkit-serving"
    with drawing(salt):
        figure = Figure(figsize=(4.2, 4.2) if narrow else (11.4, 3.8), layout="constrained")
        axes = figure.add_subplot()
        nth: Counter[str] = Counter()
        handles = []
        for own in shown:
            index = targets.index(own.target) % len(MARKERS) if own.target in targets else 0
            handles.append(_draw(axes, own, index, DASHES[nth[own.target] % len(DASHES)]))
            nth[own.target] += 1
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if str(value)[0] in "25" else ""))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlabel("p99 of a request, ms  (← better)", color=STAND_INS.ink)
        axes.set_ylabel("Requests/s  (better →)", color=STAND_INS.ink)
        decorate(axes, STAND_INS)
        legend(figure, handles, [shortened(own.title) for own in shown], 1 if narrow else 3, STAND_INS)
        out = StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return for_html(
        out.getvalue(),
        title="Requests a second against their p99",
        description=" ".join(knees(shown)),
        prefix=salt,
        table=TABLE,
    )


def _draw(axes: Any, own: Served, index: int, dashes: str) -> Any:
    colour = STAND_INS.series[index]
    loads = own.serving.loads
    line = axes.plot(
        [load.p99_ms for load in loads],
        [load.per_second for load in loads],
        color=colour,
        linestyle=dashes,
        linewidth=1.2,
        marker=MARKERS[index],
        markersize=4.5,
        zorder=3,
    )[0]
    knee = own.serving.knee
    axes.plot([knee.p99_ms], [knee.per_second], marker="o", markersize=11, color=colour, fillstyle="none", zorder=4)
    axes.annotate(
        f"{knee.streams}",
        (knee.p99_ms, knee.per_second),
        (8, 5),
        textcoords="offset points",
        color=colour,
        fontsize=9,
        weight="bold",
    )
    return line
