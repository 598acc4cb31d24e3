"""The frame that all charts share: a legend above, and axes with ticks, titles and a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from quantkit.reports.charts.axes import Scale
from quantkit.reports.charts.labels import Box
from quantkit.reports.charts.svg import Canvas, Mark, Stroke
from quantkit.reports.charts.text import text_width

EDGE = 8.0  # around the whole
SYMBOL = 22.0  # of the legend
LINE = 16.0  # of the legend
TICK = 3.5
APART = 6.0  # between the labels of two ticks, at least


@dataclass(frozen=True)
class Entry:
    """An entry of the legend: its name, and what it looks like."""

    name: str
    stroke: Stroke | None = None
    mark: Mark | None = None


@dataclass(frozen=True)
class Axis:
    """An axis: its title, its ends, whether it is logarithmic, the values to label, and how to write them.

    ``wanted`` is the number of labels wanted; ``ticks``, if given, are the values themselves.
    """

    title: str
    low: float
    high: float
    written: Callable[[float], str]
    wanted: int = 6
    logarithmic: bool = False
    ticks: tuple[float, ...] | None = None

    def scale(self, start: float, end: float) -> Scale:
        """Return the scale that maps its ends onto two places."""
        return Scale(self.low, self.high, start, end, self.logarithmic)

    def values(self) -> list[float]:
        """Return the values to label."""
        wanted = self.scale(0, 1).ticks(self.wanted) if self.ticks is None else self.ticks
        return [value for value in wanted if self.low <= value <= self.high]


@dataclass(frozen=True)
class Plot:
    """The scales of a chart's axes."""

    x: Scale
    y: Scale

    @property
    def inside(self) -> Box:
        """The left, top, right and bottom of the area between the axes."""
        return self.x.start, self.y.end, self.x.end, self.y.start


def framed(canvas: Canvas, x: Axis, y: Axis, legend: Sequence[Entry] = ()) -> Plot:
    """Draw the legend, the grid and the axes.

    Args:
        canvas: Where to draw.
        x: The axis below.
        y: The axis on the left.
        legend: The entries of the legend; it takes as many lines as it needs.

    Returns:
        The scales of both axes.
    """
    widest = max((text_width(y.written(value)) for value in y.values()), default=0.0)
    left, right = EDGE + 16 + widest + 7, canvas.width - EDGE - 4
    top, bottom = _legend(canvas, legend) + EDGE, canvas.height - EDGE - 32
    plot = Plot(x.scale(left, right), y.scale(bottom, top))
    grid, muted = Stroke(canvas.palette.grid, 0.7), Stroke(canvas.palette.grid)
    for value in y.values():
        at = plot.y(value)
        canvas.path(f"M{left - TICK:.2f} {at:.2f}H{right:.2f}", grid)
        canvas.text(left - 7, at, y.written(value), anchor="end")
    for value in _that_fit(x, plot.x):
        at = plot.x(value)
        canvas.path(f"M{at:.2f} {top:.2f}V{bottom + TICK:.2f}", grid)
        canvas.text(at, bottom + 12, x.written(value), anchor="middle")
    canvas.path(f"M{left:.2f} {top:.2f}V{bottom:.2f}H{right:.2f}", replace(muted, width=1.0))
    canvas.text((left + right) / 2, canvas.height - EDGE - 5, x.title, anchor="middle")
    canvas.text(EDGE + 4, (top + bottom) / 2, y.title, anchor="middle", turned=True)
    return plot


def _that_fit(axis: Axis, scale: Scale) -> list[float]:
    """Return the values whose labels do not run into one another, from the left."""
    kept: list[float] = []
    end = float("-inf")
    for value in axis.values():
        half = text_width(axis.written(value)) / 2
        if scale(value) - half >= end + APART:
            kept.append(value)
            end = scale(value) + half
    return kept


def _legend(canvas: Canvas, entries: Sequence[Entry]) -> float:
    """Draw the legend, line by line, and return where it ends."""
    x, y = EDGE, EDGE + LINE / 2
    for entry in entries:
        width = SYMBOL + 6 + text_width(entry.name) + 14
        if x > EDGE and x + width > canvas.width - EDGE + 14:
            x, y = EDGE, y + LINE
        if entry.stroke is not None:
            canvas.path(f"M{x:.2f} {y:.2f}h{SYMBOL:.2f}", entry.stroke)
        if entry.mark is not None:
            canvas.mark(entry.mark, x + SYMBOL / 2, y)
        canvas.text(x + SYMBOL + 6, y, entry.name)
        x += width
    return y + LINE / 2 if entries else EDGE
