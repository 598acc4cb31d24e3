"""Formats figures for display: percent, points, milliseconds, decibels.

What is lost against FP32 is positive wherever it is a number, as ``drop`` is in files, and in sentences it is said in
words: "0.50 points lost". A gain is negative in a column of losses, and "0.50 points gained" in words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from quantkit.core.comparison import Comparison, Interval, Row
from quantkit.core.decibels import NOT_FINITE_DB
from quantkit.core.figures import Metric
from quantkit.gates import GateResult, Verdict

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"


def metrics_of(comparison: Comparison) -> list[Metric]:
    """Return the task's metrics that any row has, the main one first; empty for unlabelled data."""
    measured = list(dict.fromkeys(name for row in comparison.rows for name in row.metrics))
    declared = [metric.name for metric in comparison.metrics if metric.name in measured]
    return [comparison.metric(name) for name in dict.fromkeys([*declared, *measured])]


def value(metric: Metric, number: float, digits: int = 1) -> str:
    """Format a figure; ``digits`` is the number of decimals of a percentage."""
    return percent(number, digits) if metric.is_share else metric.format(number).replace("-", MINUS)


def difference(metric: Metric, number: float, digits: int = 2) -> str:
    """Format the difference of two figures with its sign: ``+0.50 points``."""
    if metric.is_share:
        return f"{signed(100 * number, digits, plus=True)} points"
    return ("+" if number > 0 else "") + metric.format_difference(number).replace("-", MINUS)


def loss(metric: Metric, drop: float, digits: int = 2) -> str:
    """Say what is lost against another model: ``0.50 points lost``, ``0.50 points gained``, ``no change``.

    Args:
        metric: The metric.
        drop: How much worse it is, in the file's units; negative if it is better.
        digits: The number of decimals of points.

    Returns:
        The words; a metric of which less is better becomes worse or better.
    """
    if drop == 0:
        return "no change"
    shown = f"{signed(100 * abs(drop), digits)} points" if metric.is_share else metric.format_difference(abs(drop))
    ways = ("lost", "gained") if metric.better == "higher" else ("worse", "better")
    return f"{shown} {ways[drop < 0]}"


def counted(number: int, one: str, many: str = "") -> str:
    """Count things: ``1 image``, ``1,200 images``; ``many`` is the plural if it is not made with an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def band(metric: Metric, figure: Interval, digits: int = 1) -> str:
    """Format the interval of a figure: ``85.6–93.8 %``; empty if it has none."""
    if figure.low is None or figure.high is None:
        return ""
    if metric.is_share:
        return interval(figure.low, figure.high, digits)
    return f"{figure.low:.{metric.digits}g}{DASH}{metric.format(figure.high)}".replace("-", MINUS)


def telling(row: Row, rows: Sequence[Row]) -> list[str]:
    """Return the device, variant, and batch or shape that distinguish a row from others of its target and precision."""
    same = [r for r in rows if (r.target, r.precision) == (row.target, row.precision)]
    parts = {"device": row.device, "variant": row.variant, "feed": row.feed_name}
    return [text for key, text in parts.items() if len({getattr(r, key) for r in same}) > 1]


def row_name(row: Row, rows: Sequence[Row]) -> str:
    """Return ``INT8 on openvino``, with details that distinguish it from other rows of that name."""
    name = f"{row.precision.upper()} on {row.target}"
    details = telling(row, rows)
    return f"{name} ({', '.join(details)})" if details else name


def percent(share: float, digits: int = 1) -> str:
    """Format a share 0..1 as ``90.5 %``; never rounded up to 100 or down to 0."""
    return f"{_percent_number(share, digits)} %"


def interval(low: float, high: float, digits: int = 1) -> str:
    """Format two shares as ``85.6–93.8 %``."""
    return f"{_percent_number(low, digits)}{DASH}{percent(high, digits)}"


def _percent_number(share: float, digits: int) -> str:
    step = 10.0**-digits
    value = 100 * share
    if share in (0, 1):
        return f"{value:.0f}"
    if 0 < share < 1:
        value = min(max(value, step), 100 - step)
    return signed(value, digits)


def signed(value: float, digits: int, plus: bool = False) -> str:
    """Format a number with a true minus sign and, with ``plus``, a plus sign. Zero has no sign."""
    text = f"{abs(value):,.{digits}f}"
    if not any(digit in text for digit in "123456789"):
        return text
    return (MINUS if value < 0 else "+" if plus else "") + text


def points(share: float) -> str:
    """Format a difference of shares in percentage points: ``0.50``."""
    return signed(100 * share, 2)


def sqnr(sqnr_db: float | None) -> str:
    """Format an SQNR: ``25.3``; ``∞`` if bit-exact with FP32."""
    if sqnr_db is None or math.isinf(sqnr_db):
        return "∞"
    return signed(sqnr_db, 1) if sqnr_db > NOT_FINITE_DB else "not finite"


def has_broken_outputs(row: Row) -> bool:
    """True if the outputs contain NaN or Inf, or nothing but noise."""
    return row.sqnr_db is not None and not row.sqnr_db > NOT_FINITE_DB


def speed(speedup: float) -> str:
    """Describe a speed-up: ``is 2.4x faster``, ``is 1.3x slower``, ``is about as fast``."""
    if speedup >= 1.05:
        return f"is {speedup:.1f}x faster" if speedup >= 1.95 else f"is {speedup:.2f}x faster"
    if 0 < speedup <= 0.95:
        slower = 1 / speedup
        return f"is {slower:.1f}x slower" if slower >= 1.95 else f"is {slower:.2f}x slower"
    return "is about as fast"


def speedup_band(row: Row) -> str:
    """Format the interval of a row's speed-up: ``1.92–2.11x``; empty if it has none."""
    found = row.speedup_interval
    return "" if found is None else f"{found.low:.2f}{DASH}{found.high:.2f}x"


def tensor_value(value: float) -> str:
    """Format a value of a tensor with four significant digits."""
    return f"{value:.4g}".replace("-", MINUS) if math.isfinite(value) else "not finite"


def clipped(share: float | None) -> str:
    """Format the share of values that a range clips, even if it is tiny; ``–`` if unknown."""
    if share is None:
        return DASH
    if share == 0:
        return "0 %"
    return "< 0.0001 %" if share < 1e-6 else f"{100 * share:.2g} %"


def measured(verdict: Verdict) -> str:
    """Format the value that a gate rule judged; ``–`` if it matched nothing."""
    if verdict.value is None:
        return DASH
    if math.isinf(verdict.value) and verdict.rule.metric.endswith("sqnr_db"):
        return "∞ dB" if verdict.value > 0 else f"{MINUS}∞ dB"
    share = ""
    if verdict.other and not verdict.rule.is_share:
        share = f" ({100 * verdict.value / abs(verdict.other):+.1f} %)"
    return (verdict.rule.format(verdict.value) + share).replace("-", MINUS)


def margin(verdict: Verdict) -> str:
    """Format the distance to the limit, negative beyond it; ``–`` if there is none."""
    if verdict.margin is None or not math.isfinite(verdict.margin):
        return DASH
    share = verdict.rule.is_share
    text = f"{100 * verdict.margin:.2f} points" if share else verdict.rule.format(verdict.margin).removeprefix("+")
    return text.replace("-", MINUS)


def worst_first(gate: GateResult) -> list[Verdict]:
    """Return the verdicts, failures first."""
    severity = ("fail", "no match", "warn", "not comparable", "inconclusive", "pass")
    return sorted(gate.verdicts, key=lambda verdict: severity.index(verdict.outcome))


def subject(verdict: Verdict) -> str:
    """Name the row that a gate rule judged: ``openvino int8``, with the batch if not 1, the variant if of several."""
    if verdict.row is None:
        return f"{verdict.rule.target} {verdict.rule.precision}"
    batch = f" {verdict.row.feed_name}" if verdict.row.feed != (1, "") else ""
    variant = f" ({verdict.variant})" if verdict.variant else ""
    return f"{verdict.row.target} {verdict.row.precision}{variant}{batch}"
