"""Tells whether a row is faster than FP32, as far as the spread of the rounds lets one know."""

from __future__ import annotations

from collections.abc import Sequence

from quantkit.core.comparison import Row
from quantkit.measure.disturbance import speedup_interval

CLEARLY = 1.02  # a smaller gain over another precision is no reason to lose accuracy for
FASTER = 1.05  # a smaller gain is none


def reference_of(rows: Sequence[Row], row: Row, precision: str = "fp32") -> Row | None:
    """Return the row of ``precision`` with the same target, device, batch and shape; None if there is none."""
    key = (row.target, row.device, row.feed)
    return next((r for r in rows if (r.target, r.device, r.feed) == key and r.precision == precision), None)


def speedup_ends(reference: Row | None, row: Row) -> tuple[float | None, float | None]:
    """Return the bounds of a row's speed-up.

    They are those of its interval over the rounds. Rows of older files have none, but the least and the largest median
    of a round: then these bound it.

    Args:
        reference: FP32 of the same target, device and batch; None if there is none.
        row: The row.

    Returns:
        The lower and the upper bound; None if there are no rounds.
    """
    if row.speedup_interval is not None:
        return row.speedup_interval.low, row.speedup_interval.high
    if reference is None:
        return None, None
    own, other = row.latency_ms, reference.latency_ms
    if own.p50_low is None or own.p50_high is None or other.p50_low is None or other.p50_high is None:
        return None, None
    return other.p50_low / own.p50_high, other.p50_high / own.p50_low


def clearly_faster(row: Row, other: Row) -> bool:
    """True if a row is faster than another one of the same batch size: by CLEARLY at least, and beyond the spread."""
    ratio = other.latency_ms.p50 / row.latency_ms.p50
    found = speedup_interval(other.rounds_ms, row.rounds_ms, ratio)
    if ratio < CLEARLY:
        return False
    if found is not None:
        return found.low is not None and found.low > 1
    own, its = row.latency_ms.p50_high, other.latency_ms.p50_low
    return own is None or its is None or own < its


def not_faster(row: Row, rows: Sequence[Row]) -> str:
    """Say that a row is not faster than FP32 of its target, in words that follow its name.

    Args:
        row: The row.
        rows: All rows of the comparison.

    Returns:
        ``is slower than FP32 here (0.86x)`` if the whole interval says so; ``is no faster than FP32 here (1.01x)`` if
        it gains less than FASTER; ``may be no faster than FP32 here (1.30x, 95 % interval 0.90–1.90x)`` if the interval
        holds no gain; empty if it is faster.
    """
    if row.is_reference:
        return ""
    low, high = speedup_ends(reference_of(rows, row), row)
    if row.speedup >= FASTER:
        if row.speedup_interval is None or low is None or high is None or low > 1:
            return ""
        return f"may be no faster than FP32 here ({row.speedup:.2f}x, 95 % interval {low:.2f}–{high:.2f}x)"
    slower = row.speedup <= 1 / FASTER if high is None else row.speedup < 1 and high < 1
    return f"is {'slower' if slower else 'no faster'} than FP32 here ({row.speedup:.2f}x)"
