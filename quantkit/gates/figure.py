"""Looks up a figure of a row by its path, with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

from quantkit.core.comparison import Comparison, Interval, Row
from quantkit.gates.recommendation import recommend
from quantkit.gates.rule import metric_name
from quantkit.gates.speed import reference_of, speedup_ends

COMPARING = ("agreement", "sqnr_db", "worst_part_sqnr_db", "speedup")  # FP32 has none of these


@dataclass(frozen=True)
class Figure:
    """A value and the bounds of its interval, which are None if it has none."""

    value: float
    low: float | None = None
    high: float | None = None

    def leaves_open(self, limit: float) -> bool:
        """True if the interval holds the limit, so that the figure may be on either side of it."""
        return self.low is not None and self.high is not None and self.low < limit < self.high

    def overlaps(self, other: Figure) -> bool:
        """True if both have intervals and these intersect."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return False
        return self.low <= other.high and other.low <= self.high


def figure(comparison: Comparison, row: Row, metric: str) -> Figure | None:
    """Look up a figure of a row.

    Args:
        comparison: The comparison that the row belongs to.
        row: The row to look in.
        metric: The path of the figure; see :class:`~quantkit.gates.rule.Rule`. ``worst_layer_sqnr_db`` is the lowest
            SQNR of the row's ``layer_errors``; ``recommended`` is 1 if the row's precision is the one to ship on its
            target, device and batch size, else 0.

    Returns:
        The figure; None if the row has none, or if it would compare FP32 with itself.
    """
    of_fp32 = comparison.metric(metric_name(metric)).of_fp32
    compares = metric in COMPARING or metric.startswith("drop.") or of_fp32
    if row.is_reference and compares:
        return None
    if metric == "recommended":
        return Figure(float(recommend(comparison).of(row).row.precision == row.precision))
    if metric == "worst_layer_sqnr_db":
        return _worst_layer(row)
    if metric == "worst_part_sqnr_db":
        return _worst_part(row)
    if metric == "sqnr_db" and row.sqnr_db is None:
        return Figure(math.inf) if row.has_sqnr else None  # equal to FP32 to the bit
    if metric in row.metrics:
        metric = f"metrics.{metric}.value"
    found: object = row.model_dump()
    for key in metric.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, (int, float)) or isinstance(found, bool):
        return None
    low, high = _ends(comparison, row, metric)
    return Figure(float(found), low, high)


def _worst_layer(row: Row) -> Figure | None:
    """Return the lowest SQNR of a layer's output; None if no layer was measured."""
    if not row.layer_errors:
        return None
    return Figure(min((e.sqnr_db for e in row.layer_errors if e.sqnr_db is not None), default=math.inf))


def _worst_part(row: Row) -> Figure | None:
    """Return the lowest SQNR of an output or of a part of one; None if none was measured."""
    found = [error.sqnr_db for error in row.outputs if error.has_sqnr]
    return Figure(min((value for value in found if value is not None), default=math.inf)) if found else None


def _ends(comparison: Comparison, row: Row, metric: str) -> tuple[float | None, float | None]:
    head, _, rest = metric.partition(".")
    interval: Interval | None = None
    if head == "metrics" and rest.endswith(".value"):
        interval = row.metrics[rest.removesuffix(".value")]
    elif head == "agreement":
        interval = row.agreement_interval
    elif head == "drop" and rest in row.changes:
        change = row.changes[rest]
        return change.low, change.high
    elif metric == "latency_ms.p50":
        return row.latency_ms.p50_low, row.latency_ms.p50_high
    elif head == "speedup":
        return speedup_ends(reference_of(comparison.rows, row), row)
    return (interval.low, interval.high) if interval else (None, None)


def counterpart(other: Comparison, row: Row) -> Row | None:
    """Return the row of another comparison with the same target, precision, device and batch.

    If there are several, prefer those of the same shape of inputs; then the one of the same method and placement, then
    the one of the same placement, because the method may change between runs.

    Args:
        other: The comparison to search.
        row: A row of this comparison.

    Returns:
        The matching row; None if none matches, or if several match equally well.
    """
    key = (row.target, row.precision, row.device, row.batch)
    same = [r for r in other.rows if (r.target, r.precision, r.device, r.batch) == key]
    same = [r for r in same if r.shape == row.shape] or same
    exact = [r for r in same if r.variant == row.variant]
    placed = [r for r in same if r.variant.split(", ")[1:] == row.variant.split(", ")[1:]]
    return next((rows[0] for rows in (exact, placed, same) if len(rows) == 1), None)
