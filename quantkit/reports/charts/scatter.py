"""The chart of accuracy against latency, as an SVG for an HTML page or as a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from quantkit.core.comparison import Comparison, Row
from quantkit.reports import wording
from quantkit.reports.charts.glyphs import GLYPHS
from quantkit.reports.charts.labels import Label, place_labels
from quantkit.reports.charts.plot import Axis, Entry, Plot, framed
from quantkit.reports.charts.png import png_of
from quantkit.reports.charts.svg import LIGHT, PAGE, Canvas, Mark, Palette, Stroke
from quantkit.reports.charts.text import one_line, shortened
from quantkit.reports.content.points import Point, Quality, pareto_front, point_facts, points_of, target_order
from quantkit.reports.content.verdict import percent_digits

LOG_SPREAD = 8.0  # the ratio of latencies from which the axis is logarithmic
WIDE, NARROW = (820.8, 309.6), (302.4, 331.2)
PNG_DPI = 200
FRONT = (4.0, 3.0)  # its dashes


def scatter_svg(comparison: Comparison, *, narrow: bool = False) -> str:
    """Draw latency p50 (x) against the task's main metric or, without labels, agreement with FP32 (y).

    There is one point for each row, which can be focused and describes its figures. Colours are CSS variables:
    ``--c0`` … ``--c5`` for the targets in order of appearance, ``--grid``, ``--muted`` and ``--paper``, and
    currentColor for text. The same comparison gives the same bytes.

    Args:
        comparison: The comparison.
        narrow: Draw for a phone.

    Returns:
        An <svg> element; empty if there are no rows.
    """
    points, quality = points_of(comparison)
    if not points:
        return ""
    canvas = Canvas(*(NARROW if narrow else WIDE), PAGE)
    _draw(canvas, comparison, narrow)
    return canvas.html(
        title=_title(quality),
        description=_description(points, quality, comparison.samples),
        prefix="quantkit-narrow" if narrow else "quantkit",
        grouped=True,
    )


def scatter_file(comparison: Comparison, form: Literal["svg", "png"]) -> bytes:
    """Draw the same chart as a file with light colours.

    Args:
        comparison: The comparison; it must have rows.
        form: "svg" for an SVG document, "png" for a PNG of 2280 × 860 pixels.

    Returns:
        The content of the file.

    Raises:
        BackendMissing: The extra ``png`` is not installed.
    """
    points, quality = points_of(comparison)
    canvas = Canvas(*WIDE, LIGHT, focusable=False)
    _draw(canvas, comparison, narrow=False)
    document = canvas.file(title=_title(quality), description=_description(points, quality, comparison.samples))
    return png_of(document, PNG_DPI) if form == "png" else document.encode()


def _title(quality: Quality) -> str:
    return f"{quality.title} against latency"


def _draw(canvas: Canvas, comparison: Comparison, narrow: bool) -> None:
    points, quality = points_of(comparison)
    palette = canvas.palette
    targets = target_order(comparison.rows)
    intervals = any(point.low < point.high for point in points)
    x, y = _axes(points, quality, narrow)
    plot = framed(canvas, x, y, _legend(targets, intervals, palette))
    _front(canvas, plot, points, quality)
    colours = [palette.series[targets.index(point.row.target) % len(GLYPHS)] for point in points]
    for point, colour in zip(points, colours, strict=True):
        _bars(canvas, plot, point, colour)
    facts = point_facts(points, quality, comparison.samples)
    for point, colour, told in zip(points, colours, facts, strict=True):
        mark = Mark(targets.index(point.row.target) % len(GLYPHS), 14.5, colour, palette.paper)
        canvas.point(told, mark, plot.x(point.x), plot.y(point.y))
    labels = [
        Label(plot.x(point.x), plot.y(point.y), _label(point.row, points), colour)
        for point, colour in zip(points, colours, strict=True)
    ]
    for placed in place_labels(labels, plot.inside):
        canvas.label(placed)


def _axes(points: Sequence[Point], quality: Quality, narrow: bool) -> tuple[Axis, Axis]:
    low = min(min(p.x, p.row.latency_ms.p10) for p in points)
    high = max(max(p.x, p.row.latency_ms.p90) for p in points)
    logarithmic = low > 0 and high / low > LOG_SPREAD
    if logarithmic:
        ends = low / 1.25, high * 1.25
    else:
        margin = 0.06 * (high - low) or 0.1 * high
        ends = max(0.0, low - 2 * margin), high + margin
    feeds = list({p.row.feed: one_line(p.row.feed_name) for p in points}.values())
    at = f", {shortened(feeds[0])}" if len(feeds) == 1 else ""
    x = Axis(f"Latency p50, ms{at}  (← faster)", *ends, "{:g}".format, 5 if narrow else 9, logarithmic)
    bottom, top = min(p.low for p in points), max(p.high for p in points)
    margin = 0.08 * (top - bottom) or (1.0 if quality.metric.is_share else 0.08 * abs(top) or 1.0)
    # The axis of a share ends at 100 %.
    end = 100 + 0.08 * (100 - bottom + margin) if quality.metric.is_share else top + margin
    title = f"{quality.title}{', ' * bool(quality.unit)}{quality.unit}  {quality.better}"
    y = Axis(title, bottom - margin, min(top + margin, end), lambda value: f"{value:g}".replace("-", wording.MINUS), 8)
    if quality.metric.is_share:
        return x, Axis(title, y.low, y.high, y.written, ticks=tuple(v for v in y.values() if v < 100.001))
    return x, y


def _front(canvas: Canvas, plot: Plot, points: Sequence[Point], quality: Quality) -> None:
    """Draw the Pareto front as steps; a point on it dominates everything to the right and on the worse side."""
    less = quality.metric.better == "lower"
    front = [(plot.x(p.x), plot.y(p.y)) for p in pareto_front(points, less)]
    canvas.path(stepped(front, plot, less), Stroke(canvas.palette.front, 1.0, FRONT))


def stepped(front: Sequence[tuple[float, float]], plot: Plot, less: bool) -> str:
    """Return the path of a Pareto front, as steps from the worst edge of the plot to its slow one.

    Args:
        front: The places of its points, fastest first.
        plot: The plot.
        less: True if less is better.

    Returns:
        The path.
    """
    worst, slow = plot.y.end if less else plot.y.start, plot.x.end
    return f"M{front[0][0]:.2f} {worst:.2f}" + "".join(f"H{x:.2f}V{y:.2f}" for x, y in front) + f"H{slow:.2f}"


def _bars(canvas: Canvas, plot: Plot, point: Point, colour: str) -> None:
    latency = point.row.latency_ms
    left, right, x, y = plot.x(latency.p10), plot.x(latency.p90), plot.x(point.x), plot.y(point.y)
    canvas.path(f"M{left:.2f} {y:.2f}H{right:.2f}", _spread(colour))
    if point.low < point.high:
        bottom, top = plot.y(point.low), plot.y(point.high)
        ends = "".join(f"M{x - 2.5:.2f} {end:.2f}h5" for end in (bottom, top))
        canvas.path(f"M{x:.2f} {bottom:.2f}V{top:.2f}{ends}", _interval(colour))


def _spread(colour: str) -> Stroke:
    return Stroke(colour, 4.0, opacity=0.35)


def _interval(colour: str) -> Stroke:
    return Stroke(colour, 1.1, opacity=0.65)


def _label(row: Row, points: Sequence[Point]) -> str:
    """Return the precision, and anything else that distinguishes the row from other points of its target."""
    return shortened(" ".join((row.precision.upper(), *wording.telling(row, [p.row for p in points]))))


def _legend(targets: Sequence[str], intervals: bool, palette: Palette) -> list[Entry]:
    entries = [
        Entry(shortened(target), mark=Mark(i % len(GLYPHS), 12.0, palette.series[i % len(GLYPHS)], palette.paper))
        for i, target in enumerate(targets)
    ]
    entries.append(Entry("Pareto front", Stroke(palette.front, 1.0, FRONT)))
    entries.append(Entry("p10–p90", _spread(palette.front)))
    return [*entries, Entry("95 % interval", _interval(palette.front))] if intervals else entries


def _description(points: Sequence[Point], quality: Quality, samples: int) -> str:
    digits = percent_digits(samples)
    return f"{quality.title}: " + "; ".join(
        f"{shortened(p.row.target)} {shortened(p.row.precision)} {quality.shown(p.y, digits)} at {p.x:.3g} ms"
        for p in points
    )
