"""The chart of one figure over several runs, as an <svg> element whose colours and strokes are the page's classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from quantkit.reports.charts.axes import Scale, scale_of, tick_label
from quantkit.reports.charts.glyphs import GLYPHS
from quantkit.reports.content.history import History, Line, Reading, Trend

WIDTH, HEIGHT = 400, 224
LEFT, RIGHT, TOP, BOTTOM = 48, 388, 12, 190
MARK = 11  # the side of a marker
APART = 5.0  # between the marks of two lines at one run
MOST_LABELS = 6
LONGEST_LABEL = 12  # characters of a run's name


def trend_svg(trend: Trend, found: History, targets: Sequence[str]) -> Markup:
    """Draw a figure run by run: a line for each target and precision, with intervals, broken where runs do not compare.

    Args:
        trend: The figure.
        found: The history that it belongs to.
        targets: All targets; their order decides marker and colour.

    Returns:
        The element; empty if no value is finite.
    """
    drawn = [r for line in trend.lines for r in line.readings if math.isfinite(r.value)]
    ends = [trend.scaled(end) for r in drawn for end in (r.low, r.value, r.high) if end is not None]
    if not drawn:
        return Markup()
    y = scale_of(ends, BOTTOM, TOP)
    count = len(found.releases)
    x = Scale(-0.5, count - 0.5, LEFT, RIGHT)
    label = f"{trend.title} of {len(trend.lines)} models over {count} runs; the table below has the figures"
    parts = [
        Markup('<svg class="trend" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT, label),
        *_grid(y),
        *_runs(found, x),
        *_breaks(trend, x),
    ]
    apart = any(reading.low is not None for reading in drawn)  # so that intervals do not cover one another
    for number, line in enumerate(trend.lines):
        shift = apart * (number - (len(trend.lines) - 1) / 2) * min(APART, 30 / len(trend.lines))
        parts += _line(trend, line, found, targets, x, y, shift)
    return Markup("\n").join([*parts, Markup("</svg>")])


def _grid(y: Scale) -> Iterator[Markup]:
    for value in y.ticks(5):
        at = f"{y(value):.1f}"
        yield Markup('<path class="grid" d="M{} {}H{}"/>').format(LEFT, at, RIGHT)
        yield Markup('<text x="{}" y="{}" text-anchor="end" dy="0.35em">{}</text>').format(
            LEFT - 6, at, tick_label(value)
        )


def _runs(found: History, x: Scale) -> Iterator[Markup]:
    """Label every run, or of many every second, third and so on, counted from the newest."""
    count = len(found.releases)
    step = math.ceil(count / MOST_LABELS)
    for number, release in enumerate(found.releases):
        if (count - 1 - number) % step:
            continue
        name = release.name if len(release.name) <= LONGEST_LABEL else f"…{release.name[1 - LONGEST_LABEL :]}"
        yield Markup('<text x="{}" y="{}" text-anchor="end" transform="rotate(-24 {} {})">{}</text>').format(
            f"{x(number) + 4:.1f}", BOTTOM + 16, f"{x(number) + 4:.1f}", BOTTOM + 16, name
        )


def _breaks(trend: Trend, x: Scale) -> Iterator[Markup]:
    for number, reason in enumerate(trend.breaks):
        if reason:
            at = f"{x(number - 0.5):.1f}"
            yield Markup('<path class="break" d="M{} {}V{}"><title>{}</title></path>').format(at, TOP, BOTTOM, reason)


def _line(
    trend: Trend, line: Line, found: History, targets: Sequence[str], x: Scale, y: Scale, shift: float
) -> Iterator[Markup]:
    index = targets.index(line.row.target) % len(GLYPHS)
    precision = line.row.precision if line.row.precision in ("fp32", "fp16", "int8") else "int8"
    style = Markup("c{} {}").format(index, precision)
    for part in _unbroken(trend, line):
        places = [(x(r.release) + shift, y(trend.scaled(r.value))) for r in part]
        path = "L".join(f"{left:.1f} {top:.1f}" for left, top in places)
        if len(part) > 1:
            yield Markup('<path class="run {}" d="M{}"/>').format(style, path)
        for reading, (left, top) in zip(part, places, strict=True):
            yield from _mark(trend, line, found, reading, left, top, y, style, index)


def _mark(
    trend: Trend,
    line: Line,
    found: History,
    reading: Reading,
    left: float,
    top: float,
    y: Scale,
    style: str,
    index: int,
) -> Iterator[Markup]:
    release = found.releases[reading.release]
    told = [
        f"{line.title}, {release.name}",
        f"{trend.title} {trend.shown(reading.value)}"
        + (
            f", {'rounds' if trend.metric.of_the_machine else '95 % interval'} {band}"
            if (band := trend.band(reading))
            else ""
        ),
        f"Compared {release.measured[:16].replace('T', ' ')}",
    ]
    if trend.breaks[reading.release]:
        told.append(f"Not to be compared with the run before: {trend.breaks[reading.release]}")
    if reading.low is not None and reading.high is not None:
        low, high = (y(trend.scaled(end)) for end in (reading.low, reading.high))
        yield Markup('<path class="interval {}" d="M{} {}V{}"/>').format(
            style, f"{left:.1f}", f"{low:.1f}", f"{high:.1f}"
        )
    place = f"translate({left - MARK / 2:.1f} {top - MARK / 2:.1f}) scale({MARK / 16:.3f})"
    yield Markup('<g class="point"><title>{}</title><circle class="hit" cx="{}" cy="{}" r="9"/>').format(
        "\n".join(" ".join(text.split()) for text in told), f"{left:.1f}", f"{top:.1f}"
    )
    yield Markup('<path class="mark {}" transform="{}" d="{}"/></g>').format(style, place, GLYPHS[index])


def _unbroken(trend: Trend, line: Line) -> Iterator[list[Reading]]:
    """Yield the readings of a line in pieces that compare: a break, and a figure that is not finite, part them."""
    part: list[Reading] = []
    since = -1
    for reading in line.readings:
        parted = any(trend.breaks[since + 1 : reading.release + 1])
        if part and (parted or not math.isfinite(reading.value)):
            yield part
            part = []
        if math.isfinite(reading.value):
            part.append(reading)
        since = reading.release
    if part:
        yield part
