"""Tells whether a row is faster than FP32, as far as the spread of the rounds lets one know."""

from __future__ import annotations

from collections.abc import Sequence

from quantkit.core.comparison import Latency, Row

FASTER = 1.05  # a smaller gain is none


def reference_of(rows: Sequence[Row], row: Row, precision: str = "fp32") -> Row | None:
    """Return the row of ``precision`` with the same target, device and batch; None if there is none."""
    key = (row.target, row.device, row.batch)
    return next((r for r in rows if (r.target, r.device, r.batch) == key and r.precision == precision), None)


def speedup_ends(reference: Row | None, own: Latency) -> tuple[float | None, float | None]:
    """Return the least and the largest speed-up that medians of single rounds give; None if there are no rounds."""
    if reference is None:
        return None, None
    other = reference.latency_ms
    if own.p50_low is None or own.p50_high is None or other.p50_low is None or other.p50_high is None:
        return None, None
    return other.p50_low / own.p50_high, other.p50_high / own.p50_low


def not_faster(row: Row, rows: Sequence[Row]) -> str:
    """Say that a row is not faster than FP32 of its target, in words that follow its name.

    Args:
        row: The row.
        rows: All rows of the comparison.

    Returns:
        ``is slower than FP32 here (0.86×)`` if every round says so, ``is no faster than FP32 here (1.01×)`` if it gains
        less than FASTER or rounds disagree about a loss; empty if it is faster.
    """
    if row.is_reference or row.speedup >= FASTER:
        return ""
    _, high = speedup_ends(reference_of(rows, row), row.latency_ms)
    slower = row.speedup <= 1 / FASTER if high is None else row.speedup < 1 and high < 1
    return f"is {'slower' if slower else 'no faster'} than FP32 here ({row.speedup:.2f}×)"
