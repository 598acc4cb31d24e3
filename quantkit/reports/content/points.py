"""The points of the chart of accuracy against latency: their positions and descriptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantkit.core.comparison import Comparison, Interval, Row
from quantkit.core.figures import ROW_METRICS, Metric
from quantkit.gates.recommendation import first_feed
from quantkit.reports import wording
from quantkit.reports.content.verdict import percent_digits


@dataclass(frozen=True)
class Point:
    """A row in the chart: latency in ms, quality and its 95 % bounds in the units of the axis."""

    row: Row
    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Quality:
    """The metric on the y axis, and the title of the axis."""

    metric: Metric
    title: str

    @property
    def unit(self) -> str:
        """The unit after a figure, such as ``%``; empty for a plain number."""
        return "%" if self.metric.is_share else self.metric.unit

    def shown(self, y: float, digits: int) -> str:
        """Format a point's y."""
        return wording.value(self.metric, y / self.scale, digits)

    @property
    def scale(self) -> float:
        """The factor from a figure to the axis: 100 for shares, which are in percent there."""
        return 100.0 if self.metric.is_share else 1.0

    @property
    def better(self) -> str:
        """The note on the axis that says which way is better."""
        return "(better →)" if self.metric.better == "higher" else "(← better)"


def points_of(comparison: Comparison) -> tuple[list[Point], Quality]:
    """Return the points, and the metric on the y axis.

    The metric is the task's main metric; agreement with FP32 if there are no labels; SQNR if there are no answers. Only
    rows of the first shape of the smallest batch get a point; others would repeat the same quality at a longer latency.
    """
    quality = quality_of(comparison)
    first = first_feed(comparison)
    points = []
    for row in comparison.rows:
        figure = _figure(row, quality.metric.name)
        if row.feed == first and figure is not None:
            low = figure.value if figure.low is None else figure.low
            high = figure.value if figure.high is None else figure.high
            ends = (quality.scale * end for end in (figure.value, low, high))
            points.append(Point(row, row.latency_ms.p50, *ends))
    return points, quality


def quality_of(comparison: Comparison) -> Quality:
    """Return the metric of the chart and of its heading."""
    measured = wording.metrics_of(comparison)
    if measured:
        title = measured[0].heading
        return Quality(measured[0], f"{title} accuracy" if measured[0].name.startswith("top") else title)
    if any(row.agreement is not None for row in comparison.rows):
        return Quality(ROW_METRICS["agreement"], "Agreement with FP32")
    return Quality(ROW_METRICS["sqnr_db"], "SQNR")


def _figure(row: Row, metric: str) -> Interval | None:
    if metric == "agreement":
        return None if row.agreement is None else Interval(value=row.agreement)
    if metric == "sqnr_db":
        return None if row.sqnr_db is None else Interval(value=row.sqnr_db)
    return row.metrics.get(metric)


def pareto_front(points: Sequence[Point], less_is_better: bool = False) -> list[Point]:
    """Return the points that no other beats in both latency and quality, fastest first."""
    front: list[Point] = []
    way = -1 if less_is_better else 1
    for point in sorted(points, key=lambda p: (p.x, -way * p.y)):
        if not front or way * point.y > way * front[-1].y:
            front.append(point)
    return front


def target_order(rows: Sequence[Row]) -> list[str]:
    """Return the targets in order of appearance; the index decides marker and colour."""
    return list(dict.fromkeys(row.target for row in rows))


def point_facts(points: Sequence[Point], quality: Quality, samples: int) -> list[list[str]]:
    """Describe each point.

    Args:
        points: The points.
        quality: The metric on the y axis.
        samples: The number of samples, which decides the number of decimals.

    Returns:
        For each point its name, then a line for each figure.
    """
    digits = percent_digits(samples)
    front = pareto_front(points, quality.metric.better == "lower")
    return [_facts(point, quality, digits, point in front) for point in points]


def _facts(point: Point, quality: Quality, digits: int, on_front: bool) -> list[str]:
    row, latency = point.row, point.row.latency_ms
    made = f" ({row.variant})" if row.variant else ""
    band = ""
    if point.low < point.high:
        ends = Interval(value=point.y, low=point.low / quality.scale, high=point.high / quality.scale)
        band = f", 95 % interval {wording.band(quality.metric, ends, digits)}"
    lines = [
        f"{row.target} {row.precision.upper()}{made}",
        f"{quality.title} {quality.shown(point.y, digits)}{band}",
        f"Latency p50 {latency.p50:.3g} ms, p10–p90 {latency.p10:.3g}–{latency.p90:.3g} ms",
    ]
    if not row.is_reference:
        sqnr = f", SQNR {wording.sqnr(row.sqnr_db)} dB" if row.has_sqnr else ""
        lines.append(f"{row.speedup:.2f}x FP32's speed{sqnr}")
        if row.metrics and row.agreement is not None:
            lines.append(f"Agrees with FP32 on {wording.percent(row.agreement, digits)}")
    if on_front:
        lines.append("On the Pareto front: none is both faster and better")
    return [" ".join("".join(c if c.isprintable() else " " for c in line).split()) for line in lines]
