"""The chart of accuracy against latency, as an SVG for an HTML page or as a file."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any, Literal

from quantkit.core.comparison import Comparison, Row
from quantkit.reports import wording
from quantkit.reports.charts.labels import place_labels
from quantkit.reports.charts.style import decorate, drawing, legend, shortened
from quantkit.reports.charts.svg import LIGHT, POINT, STAND_INS, Palette, for_file, for_html
from quantkit.reports.content.points import Point, Quality, pareto_front, point_facts, points_of, target_order
from quantkit.reports.content.verdict import percent_digits

MARKERS = ("o", "s", "^", "D", "v", "P")  # one for each target, along with its colour --c0 … --c5
LOG_SPREAD = 8.0  # the ratio of latencies from which the axis is logarithmic
PNG_DPI = 200
_SPREAD: dict[str, Any] = {"linewidth": 4.0, "alpha": 0.35}
_INTERVAL: dict[str, Any] = {"linewidth": 1.1, "alpha": 0.65}


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
    if not points_of(comparison)[0]:
        return ""
    prefix = "quantkit-narrow" if narrow else "quantkit"
    document = _drawn(comparison, STAND_INS, "svg", prefix, narrow).decode()
    return for_html(document, **_told(comparison), prefix=prefix)


def scatter_file(comparison: Comparison, form: Literal["svg", "png"]) -> bytes:
    """Draw the same chart as a file with light colours.

    Args:
        comparison: The comparison; it must have rows.
        form: "svg" for an SVG document, "png" for a PNG of 2280 × 860 pixels.

    Returns:
        The content of the file.
    """
    document = _drawn(comparison, LIGHT, form, "quantkit")
    if form == "png":
        return document
    return for_file(document.decode(), **_told(comparison), paper=LIGHT.paper).encode()


def _told(comparison: Comparison) -> dict[str, Any]:
    points, quality = points_of(comparison)
    return {
        "title": f"{quality.title} against latency",
        "description": _description(points, quality, comparison.samples),
        "facts": point_facts(points, quality, comparison.samples),
    }


def _drawn(comparison: Comparison, palette: Palette, form: str, salt: str, narrow: bool = False) -> bytes:
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    points, quality = points_of(comparison)
    with drawing(salt):
        figure = Figure(figsize=(4.2, 4.6) if narrow else (11.4, 4.3), layout="constrained", facecolor=palette.paper)
        axes = figure.add_subplot(facecolor=palette.paper)
        _axes(axes, points, quality, narrow, palette)
        _front(axes, points, quality, palette)
        targets = target_order(comparison.rows)
        for number, point in enumerate(points):
            _draw(axes, point, number, targets.index(point.row.target), palette)
        _legend(figure, targets, any(p.low < p.high for p in points), palette)
        figure.draw_without_rendering()  # label places depend on the final layout
        place_labels(axes, [(p.x, p.y, _label(p.row, points), _colour(targets, p, palette)) for p in points])
        if form == "png":
            for label in axes.texts:
                label.set_path_effects([withStroke(linewidth=3, foreground=palette.paper)])
        out = BytesIO()
        metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": "quantkit chart"}
        figure.savefig(
            out, format=form, transparent=palette is STAND_INS, metadata=metadata, dpi=PNG_DPI if form == "png" else 72
        )
    return out.getvalue()


def _axes(axes: Any, points: Sequence[Point], quality: Quality, narrow: bool, palette: Palette) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    low = min(min(p.x, p.row.latency_ms.p10) for p in points)
    high = max(max(p.x, p.row.latency_ms.p90) for p in points)
    if low > 0 and high / low > LOG_SPREAD:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.25, high * 1.25)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        margin = 0.06 * (high - low) or 0.1 * high
        axes.set_xlim(max(0.0, low - 2 * margin), high + margin)
        axes.xaxis.set_major_locator(MaxNLocator(6 if narrow else 9, steps=(1, 2, 5, 10)))
    bottom, top = min(p.low for p in points), max(p.high for p in points)
    margin = 0.08 * (top - bottom) or (1.0 if quality.metric.is_share else 0.08 * abs(top) or 1.0)
    # The axis of a share ends at 100 %.
    end = 100 + 0.08 * (100 - bottom + margin) if quality.metric.is_share else top + margin
    axes.set_ylim(bottom - margin, min(top + margin, end))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:g}" if value < 100.001 or not quality.metric.is_share else "")
    )
    feeds = list({p.row.feed: p.row.feed_name for p in points}.values())
    at = f", {feeds[0]}" if len(feeds) == 1 else ""
    axes.set_xlabel(f"Latency p50, ms{at}  (← faster)", color=palette.ink)
    axes.set_ylabel(f"{quality.title}{', ' * bool(quality.unit)}{quality.unit}  {quality.better}", color=palette.ink)
    decorate(axes, palette)


def _front(axes: Any, points: Sequence[Point], quality: Quality, palette: Palette) -> None:
    """Draw the Pareto front as steps; a point on it dominates everything to the right and on the worse side."""
    less = quality.metric.better == "lower"
    front = pareto_front(points, less)
    xs = [front[0].x, *(p.x for p in front), axes.get_xlim()[1]]
    ys = [axes.get_ylim()[1 if less else 0], *(p.y for p in front), front[-1].y]
    axes.plot(xs, ys, drawstyle="steps-post", color=palette.front, linewidth=1, linestyle=(0, (4, 3)), zorder=1.5)


def _draw(axes: Any, point: Point, number: int, index: int, palette: Palette) -> None:
    colour, marker = palette.series[index % len(MARKERS)], MARKERS[index % len(MARKERS)]
    latency = point.row.latency_ms
    bar = {"color": colour, "solid_capstyle": "butt", "zorder": 2}
    axes.plot([latency.p10, latency.p90], [point.y, point.y], **_SPREAD, **bar)
    if point.low < point.high:
        axes.plot([point.x, point.x], [point.low, point.high], marker="_", markersize=5, **_INTERVAL, **bar)
    (mark,) = axes.plot(point.x, point.y, marker=marker, markersize=10, color=colour, zorder=3, linestyle="none")
    mark.set(markeredgecolor=palette.paper, gid=f"{POINT}{number}")


def _label(row: Row, points: Sequence[Point]) -> str:
    """Return the precision, and anything else that distinguishes the row from other points of its target."""
    return shortened(" ".join((row.precision.upper(), *wording.telling(row, [p.row for p in points]))))


def _colour(targets: Sequence[str], point: Point, palette: Palette) -> str:
    return palette.series[targets.index(point.row.target) % len(MARKERS)]


def _legend(figure: Any, targets: Sequence[str], intervals: bool, palette: Palette) -> None:
    from matplotlib.lines import Line2D

    names, handles = [], []
    for index, target in enumerate(targets):
        style: dict[str, Any] = {"color": palette.series[index % len(MARKERS)], "marker": MARKERS[index % len(MARKERS)]}
        handles.append(Line2D([], [], markersize=8, markeredgecolor=palette.paper, linestyle="none", **style))
        names.append(shortened(target))
    handles.append(Line2D([], [], color=palette.front, linewidth=1, linestyle=(0, (4, 3))))
    names.append("Pareto front")
    handles.append(Line2D([], [], color=palette.front, **_SPREAD))
    names.append("p10–p90")
    if intervals:
        handles.append(Line2D([], [], color=palette.front, **_INTERVAL))
        names.append("95 % interval")
    room = 72 * figure.get_figwidth()
    columns = max(1, min(len(names), int(room / (6 * max(map(len, names)) + 45))))
    legend(figure, handles, names, columns, palette)


def _description(points: Sequence[Point], quality: Quality, samples: int) -> str:
    digits = percent_digits(samples)
    return f"{quality.title}: " + "; ".join(
        f"{shortened(p.row.target)} {shortened(p.row.precision)} {quality.shown(p.y, digits)} at {p.x:.3g} ms"
        for p in points
    )
