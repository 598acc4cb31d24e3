"""The chart of the path that tuning took: accuracy against latency of each step, as an SVG for an HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from quantkit.core.tuning import Tuning
from quantkit.reports import wording
from quantkit.reports.charts.labels import Label, place_labels
from quantkit.reports.charts.plot import Axis, Entry, Plot, framed
from quantkit.reports.charts.scatter import FRONT, LOG_SPREAD, stepped
from quantkit.reports.charts.svg import PAGE, Canvas, Mark, Stroke
from quantkit.reports.charts.text import shortened
from quantkit.reports.content.tuning_path import Axis as Accuracy
from quantkit.reports.content.tuning_path import (
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
WIDE, NARROW = (820.8, 288.0), (302.4, 316.8)
MOST_NUMBERED = 30  # steps; where there are more, those not taken are not numbered in the chart
_STEP, _HALF, _RESULT = PAGE.series[:3]
_COLOURS: dict[Role, str] = {
    "start": _STEP, "taken": _STEP, "refused": _STEP, "to compare": _HALF, "result": _RESULT
}  # fmt: skip
_GLYPHS: dict[Role, int] = {"to compare": 1, "result": 3}
_LIMIT = Stroke(PAGE.front, 1.0, (1.0, 2.0))
_FRONT = Stroke(PAGE.front, 1.0, FRONT)


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
    placed, accuracy, timed = spots(found), accuracy_of(found), is_timed(found)
    accuracy = replace(accuracy, goal=goal_shown(placed, accuracy))
    if not placed:
        return ""
    canvas = Canvas(*(NARROW if narrow else WIDE), PAGE)
    x, y, top = _axes(placed, accuracy, timed, narrow)
    plot = framed(canvas, x, y, _legend(placed, accuracy, timed))
    heights = {spot.number: plot.y(top if spot.y is None else spot.y) for spot in placed}
    _lines(canvas, plot, placed, accuracy, found.goal.slowdown if timed else None, heights, timed)
    for spot in placed:
        _bar(canvas, plot, spot, heights[spot.number])
    for spot in sorted(placed, key=lambda spot: spot.role == "result"):
        canvas.point(spot.facts, _mark(spot.role), plot.x(spot.x), heights[spot.number])
    for label in place_labels(_labels(plot, placed, heights, narrow), plot.inside):
        canvas.label(label)
    return canvas.html(
        title=f"{accuracy.title.split(',')[0]} of each step {'against its latency' if timed else 'of tuning'}",
        description=described(found, placed),
        prefix="quantkit-tuning-narrow" if narrow else "quantkit-tuning",
        grouped=True,
        table=TABLE,
    )


def _axes(placed: Sequence[Spot], accuracy: Accuracy, timed: bool, narrow: bool) -> tuple[Axis, Axis, float]:
    """Return both axes, and the height of what is bit-exact."""
    known = [spot.y for spot in placed if spot.y is not None] + ([] if accuracy.goal is None else [accuracy.goal])
    bottom, most = min(known, default=0.0), max(known, default=1.0)
    margin = 0.1 * (most - bottom) or 1.0
    title = f"{accuracy.title}  {'(better →)' if accuracy.higher else '(← better)'}"
    y = Axis(title, bottom - margin, most + margin, lambda value: f"{value:g}".replace("-", wording.MINUS))
    low, high = min(spot.low for spot in placed), max(spot.high for spot in placed)
    if not timed:
        margin_x = 0.06 * (high - low) or 0.5
        every = 1 if len(placed) <= MOST_NUMBERED and not narrow else max(1, len(placed) // 6)
        numbers = tuple(float(spot.number) for spot in placed[::every])
        return Axis("Step", low - margin_x, high + margin_x, "{:g}".format, ticks=numbers), y, most + margin / 2
    words = "Latency, default INT8 = 1x  (← faster)"
    if low > 0 and high / low > LOG_SPREAD:
        return Axis(words, low / 1.25, high * 1.25, "{:g}x".format, logarithmic=True), y, most + margin / 2
    margin_x = 0.06 * (high - low) or 0.5
    x = Axis(words, low - margin_x, high + margin_x, "{:g}x".format, 4 if narrow else 9)
    return x, y, most + margin / 2


def _lines(
    canvas: Canvas,
    plot: Plot,
    placed: Sequence[Spot],
    accuracy: Accuracy,
    slowdown: float | None,
    heights: dict[int, float],
    timed: bool,
) -> None:
    """Draw the goal, the front, and the path through the steps that were taken."""
    left, top, right, bottom = plot.inside
    if accuracy.goal is not None:
        canvas.path(f"M{left:.2f} {plot.y(accuracy.goal):.2f}H{right:.2f}", _LIMIT)
    if slowdown is not None and plot.x.low <= 1 + slowdown <= plot.x.high:
        canvas.path(f"M{plot.x(1 + slowdown):.2f} {top:.2f}V{bottom:.2f}", _LIMIT)
    best = front(placed, accuracy.higher) if timed else []
    if best:
        places = [(plot.x(spot.x), heights[spot.number]) for spot in best]
        canvas.path(stepped(places, plot, not accuracy.higher), _FRONT)
    path = [spot for spot in placed if spot.role in ("start", "taken", "result")]
    canvas.line([(plot.x(spot.x), heights[spot.number]) for spot in path], Stroke(_STEP, 1.4))


def _bar(canvas: Canvas, plot: Plot, spot: Spot, y: float) -> None:
    if spot.low < spot.high:
        low, high = plot.x(spot.low), plot.x(spot.high)
        ends = "".join(f"M{end:.2f} {y - 2.5:.2f}v5" for end in (low, high))
        canvas.path(f"M{low:.2f} {y:.2f}H{high:.2f}{ends}", Stroke(_COLOURS[spot.role], 1.1, opacity=0.5))


def _mark(role: Role) -> Mark:
    glyph, colour = _GLYPHS.get(role, 0), _COLOURS[role]
    if role == "refused":
        return Mark(glyph, 9.0, PAGE.paper, colour, 1.2)
    return Mark(glyph, 16.0 if role == "result" else 13.0, colour, PAGE.paper)


def _labels(plot: Plot, placed: Sequence[Spot], heights: dict[int, float], narrow: bool) -> list[Label]:
    """Label each step with its number and its name; one that was not taken with its number alone, as all on a phone."""
    order = sorted(placed, key=lambda spot: ("result", "start", "to compare", "taken", "refused").index(spot.role))
    labels = []
    for spot in order:
        if spot.role == "refused" and len(placed) > MOST_NUMBERED:
            continue
        name = "" if spot.role == "refused" or (narrow and spot.role == "taken") else f" {shortened(spot.name)}"
        labels.append(Label(plot.x(spot.x), heights[spot.number], f"{spot.number}{name}", _COLOURS[spot.role]))
    return labels


def _legend(placed: Sequence[Spot], accuracy: Accuracy, timed: bool) -> list[Entry]:
    roles = [spot.role for spot in placed]
    named: list[tuple[Role, str]] = [
        ("taken", "taken"), ("refused", "not taken"), ("to compare", "FP16"), ("result", "the result")
    ]  # fmt: skip
    entries = [Entry(name, mark=_mark(role)) for role, name in named if role in roles]
    if timed:
        entries.append(Entry("Pareto front", _FRONT))
        entries.append(Entry("95 % interval", Stroke(PAGE.front, 1.1, opacity=0.5)))
    return entries if accuracy.goal is None else [*entries, Entry("goal", _LIMIT)]
