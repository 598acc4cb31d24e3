"""The points of the picture of accuracy against latency: where they lie, and what is to be told of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantkit.core.comparison import Comparison, Row
from quantkit.reports import wording
from quantkit.reports.content.verdict import percent_digits


@dataclass(frozen=True)
class Point:
    """One row in the picture: latency in ms, quality and its 95 % bounds in percent."""

    row: Row
    x: float
    y: float
    low: float
    high: float


def points_of(comparison: Comparison) -> tuple[list[Point], str]:
    """The points and what y is: top-1, or agreement with FP32 where there are no labels.

    One for each row of the smallest batch: others would show the same quality once more, at a longer latency.
    """
    metric = wording.main_metric(comparison.rows)
    batch = min((row.batch for row in comparison.rows), default=1)
    points = []
    for row in comparison.rows:
        if row.batch != batch:
            continue
        x = row.latency_ms.p50
        if metric is None:
            points.append(Point(row, x, *(100 * row.agreement,) * 3))
        elif metric in row.metrics:
            value = row.metrics[metric]
            points.append(Point(row, x, 100 * value.value, 100 * value.low, 100 * value.high))
    if metric is None:
        return points, "Agreement with FP32"
    return points, f"{wording.metric_name(metric).capitalize()} accuracy" if metric.startswith("top") else metric


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in both latency and quality, fastest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, -p.y)):
        if not front or point.y > front[-1].y:
            front.append(point)
    return front


def target_order(rows: Sequence[Row]) -> list[str]:
    """The targets in order of appearance: the index chooses marker and colour."""
    return list(dict.fromkeys(row.target for row in rows))


def facts(points: Sequence[Point], quality: str, samples: int) -> list[list[str]]:
    """Of each point: its name, then a line for each figure."""
    digits = percent_digits(samples)
    front = pareto_front(points)
    return [_facts(point, quality, digits, point in front) for point in points]


def _facts(point: Point, quality: str, digits: int, on_front: bool) -> list[str]:
    row, latency = point.row, point.row.latency_ms
    made = f" ({row.variant})" if row.variant else ""
    band = ""
    if point.low < point.high:
        band = f", 95 % interval {wording.interval(point.low / 100, point.high / 100, digits)}"
    lines = [
        f"{row.target} {row.precision.upper()}{made}",
        f"{quality} {wording.percent(point.y / 100, digits)}{band}",
        f"Latency p50 {latency.p50:.3g} ms, p10–p90 {latency.p10:.3g}–{latency.p90:.3g} ms",
    ]
    if not row.is_reference:
        lines.append(f"{row.speedup:.2f}x FP32's speed, SQNR {wording.decibels(row.sqnr_db)} dB")
        if row.metrics:
            lines.append(f"Agrees with FP32 on {wording.percent(row.agreement, digits)}")
    if on_front:
        lines.append("On the Pareto front: none is both faster and better")
    return [" ".join("".join(c if c.isprintable() else " " for c in line).split()) for line in lines]
