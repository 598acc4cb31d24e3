"""The chart of the path that tuning took: accuracy against latency of each step, as an SVG for an HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from typing import Any

from quantkit.core.tuning import Tuning
from quantkit.reports import wording
from quantkit.reports.charts.labels import place_labels
from quantkit.reports.charts.scatter import LOG_SPREAD
from quantkit.reports.charts.style import decorate, drawing, legend, shortened
from quantkit.reports.charts.svg import POINT, STAND_INS, for_html
from quantkit.reports.content.tuning_path import (
    Axis,
    Role,
    Spot,
    accuracy_of,
    described,
    front,
    goal_shown,
    is_timed,
    spots,
)

TABLE = "steps"  # the page's table of the same figures
MOST_NUMBERED = 30  # steps; where there are more, those not taken are not numbered in the chart
_STEP, _HALF, _RESULT = STAND_INS.series[:3]
_COLOURS: dict[Role, str] = {
    "start": _STEP, "taken": _STEP, "refused": _STEP, "to compare": _HALF, "result": _RESULT
}  # fmt: skip
_MARKERS: dict[Role, str] = {"to compare": "s", "result": "D"}
_BAR: dict[str, Any] = {"linewidth": 1.1, "alpha": 0.5, "solid_capstyle": "butt", "zorder": 2}
_LIMIT: dict[str, Any] = {"color": STAND_INS.front, "linewidth": 1, "linestyle": (0, (1, 2)), "zorder": 1.5}
_FRONT: dict[str, Any] = {"color": STAND_INS.front, "linewidth": 1, "linestyle": (0, (4, 3)), "zorder": 1.5}


def tuning_svg(found: Tuning, *, narrow: bool = False) -> str:
    """Draw the latency of each step (x), as a multiple of the start's, against its accuracy (y).

    Steps that were taken are joined, others are hollow. Where nothing could be timed, steps follow one another on the x
    axis. Bit-exact steps are drawn at the top. Colours are CSS variables, as in
    :func:`quantkit.reports.charts.scatter.scatter_svg`.

    Args:
        found: The tuning.
        narrow: Draw for a phone.

    Returns:
        An <svg> element; empty if no step has a place in it.
    """
    placed, axis, timed = spots(found), accuracy_of(found), is_timed(found)
    axis = replace(axis, goal=goal_shown(placed, axis))
    if not placed:
        return ""
    from matplotlib.figure import Figure

    salt = "quantkit-tuning-narrow" if narrow else "quantkit-tuning"
    with drawing(salt):
        figure = Figure(figsize=(4.2, 4.4) if narrow else (11.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        top = _axes(axes, placed, axis, timed, narrow)
        heights = {spot.number: top if spot.y is None else spot.y for spot in placed}
        _lines(axes, placed, axis, found.goal.slowdown if timed else None, heights, timed)
        for index, spot in enumerate(placed):
            _draw(axes, spot, heights[spot.number], index)
        _legend(figure, placed, axis, timed)
        figure.draw_without_rendering()  # label places depend on the final layout
        place_labels(axes, _labels(placed, heights, narrow))
        out = StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return for_html(
        out.getvalue(),
        title=f"{axis.title.split(',')[0]} of each step {'against its latency' if timed else 'of tuning'}",
        description=described(found, placed),
        prefix=salt,
        facts=[spot.facts for spot in placed],
        table=TABLE,
    )


def _axes(axes: Any, placed: Sequence[Spot], axis: Axis, timed: bool, narrow: bool) -> float:
    """Set limits, ticks and titles, and return the height of what is bit-exact."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    known = [spot.y for spot in placed if spot.y is not None] + ([] if axis.goal is None else [axis.goal])
    bottom, most = min(known, default=0.0), max(known, default=1.0)
    margin = 0.1 * (most - bottom) or 1.0
    axes.set_ylim(bottom - margin, most + margin)
    low, high = min(spot.low for spot in placed), max(spot.high for spot in placed)
    if timed and low > 0 and high / low > LOG_SPREAD:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.25, high * 1.25)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        margin_x = 0.06 * (high - low) or 0.5
        axes.set_xlim(low - margin_x, high + margin_x)
        axes.xaxis.set_major_locator(MaxNLocator(5 if narrow else 9, integer=not timed))
    if not timed and len(placed) <= MOST_NUMBERED and not narrow:
        axes.xaxis.set_major_locator(FixedLocator([spot.number for spot in placed]))
    unit = "x" if timed else ""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{unit}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", wording.MINUS)))
    words = "Latency, default INT8 = 1x  (← faster)" if timed else "Step"
    axes.set_xlabel(words, color=STAND_INS.ink)
    axes.set_ylabel(f"{axis.title}  {'(better →)' if axis.higher else '(← better)'}", color=STAND_INS.ink)
    decorate(axes, STAND_INS)
    return most + margin / 2


def _lines(
    axes: Any,
    placed: Sequence[Spot],
    axis: Axis,
    slowdown: float | None,
    heights: dict[int, float],
    timed: bool,
) -> None:
    """Draw the goal, the front, and the path through the steps that were taken."""
    if axis.goal is not None:
        axes.axhline(axis.goal, **_LIMIT)
    if slowdown is not None:
        axes.axvline(1 + slowdown, **_LIMIT)
    best = front(placed, axis.higher) if timed else []
    if best:
        xs = [best[0].x, *(spot.x for spot in best), axes.get_xlim()[1]]
        ys = [axes.get_ylim()[0 if axis.higher else 1], *(heights[spot.number] for spot in best)]
        axes.plot(xs, [*ys, ys[-1]], drawstyle="steps-post", **_FRONT)
    path = [spot for spot in placed if spot.role in ("start", "taken", "result")]
    xs, ys = [spot.x for spot in path], [heights[spot.number] for spot in path]
    axes.plot(xs, ys, color=_STEP, linewidth=1.4, zorder=2.5)


def _draw(axes: Any, spot: Spot, y: float, index: int) -> None:
    colour = _COLOURS[spot.role]
    if spot.low < spot.high:
        axes.plot([spot.low, spot.high], [y, y], marker="|", markersize=5, color=colour, **_BAR)
    (mark,) = axes.plot(spot.x, y, linestyle="none", color=colour, zorder=3 + (spot.role == "result"))
    mark.set(gid=f"{POINT}{index}", **_mark(spot.role))


def _mark(role: Role) -> dict[str, Any]:
    refused = role == "refused"
    return {
        "marker": _MARKERS.get(role, "o"),
        "markersize": 11 if role == "result" else 7 if refused else 9,
        "markerfacecolor": STAND_INS.paper if refused else _COLOURS[role],
        "markeredgecolor": _COLOURS[role] if refused else STAND_INS.paper,
        "markeredgewidth": 1.2 if refused else 1.0,
    }


def _labels(placed: Sequence[Spot], heights: dict[int, float], narrow: bool) -> list[tuple[float, float, str, str]]:
    """Label each step with its number and its name; one that was not taken with its number alone, as all on a phone."""
    order = sorted(placed, key=lambda spot: ("result", "start", "to compare", "taken", "refused").index(spot.role))
    labels = []
    for spot in order:
        if spot.role == "refused" and len(placed) > MOST_NUMBERED:
            continue
        name = "" if spot.role == "refused" or (narrow and spot.role == "taken") else f" {shortened(spot.name)}"
        labels.append((spot.x, heights[spot.number], f"{spot.number}{name}", _COLOURS[spot.role]))
    return labels


def _legend(figure: Any, placed: Sequence[Spot], axis: Axis, timed: bool) -> None:
    from matplotlib.lines import Line2D

    roles = [spot.role for spot in placed]
    named: list[tuple[str, Any]] = []
    for role, name in (("taken", "taken"), ("refused", "not taken"), ("to compare", "FP16"), ("result", "the result")):
        if role in roles:
            own: Role = role
            named.append((name, Line2D([], [], linestyle="none", color=_COLOURS[own], **_mark(own))))
    if timed:
        named.append(("Pareto front", Line2D([], [], **{k: v for k, v in _FRONT.items() if k != "zorder"})))
        named.append(("95 % interval", Line2D([], [], color=STAND_INS.front, linewidth=1.1, alpha=0.5)))
    if axis.goal is not None:
        named.append(("goal", Line2D([], [], **{k: v for k, v in _LIMIT.items() if k != "zorder"})))
    names, handles = [name for name, _ in named], [handle for _, handle in named]
    columns = max(1, int(72 * figure.get_figwidth() / (6 * max(map(len, names), default=1) + 45)))
    legend(figure, handles, names, min(columns, len(names)), STAND_INS)
