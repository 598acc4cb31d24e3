"""Writes a first set of rules from the figures of a run, with a margin for chance."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quantkit.core.comparison import Comparison, Row
from quantkit.core.errors import NothingEvaluated
from quantkit.gates.figure import figure
from quantkit.gates.loss import loss_of
from quantkit.gates.rule import MOST_SENSIBLE_DROP
from quantkit.gates.speed import not_faster

LEAST_DROP = 0.005  # half a point; with a few thousand samples a stricter limit fails by chance
POINT_STEP = 0.0025
SPARE_DB = 2.0
SPARE_SPEED = 0.85  # of the slowest speed-up
FALL, RISE = 0.005, "10 %"  # against a baseline


def starter_rules(comparison: Comparison) -> tuple[str, list[str]]:
    """Write TOML with [[gate]] tables that the comparison passes, and that somebody may be held to.

    A rule that would allow what is wrong with this run is left out: a loss beyond chance, or INT8 slower than FP32.

    Args:
        comparison: The comparison to write rules for.

    Returns:
        The TOML, and a sentence for each rule that is left out.

    Raises:
        NothingEvaluated: The comparison has no INT8 row.
    """
    rows = [row for row in comparison.rows if row.precision == "int8"]
    if not rows:
        raise NothingEvaluated("The comparison has no INT8 row to write rules for.", "Compare INT8, too.")
    machine = comparison.environment
    blocks = [
        f"# Rules for quantkit gate, from figures measured {machine.measured[:10]} on {machine.hardware},\n"
        f"# {comparison.samples} samples. Shares are 0 to 1: half a point is 0.005.\n"
    ]
    metric = comparison.main_metric
    left_out = []
    targets = {
        target: [row for row in rows if row.target == target] for target in dict.fromkeys(r.target for r in rows)
    }
    lossless = dict(targets)
    for target, own in targets.items():
        if loss := next((loss for row in own if (loss := loss_of(row, comparison))), None):
            del lossless[target]
            left_out.append(f"There is no rule of accuracy for {target}: {loss.of('INT8')}.")
    groups = [("*", rows)] if lossless == targets else lossless.items()
    for target, own in groups:
        blocks += _accuracy(comparison, target, own)
    for target, own in targets.items():
        if slow := next((slow for row in own if (slow := not_faster(row, comparison.rows))), ""):
            left_out.append(f"There is no rule of speed for {target}: INT8 {slow}.")
        else:
            blocks.append(_speed(comparison, target, own))
    blocks.append(_baseline(comparison, metric))
    return "\n".join(blocks), left_out


def _accuracy(comparison: Comparison, target: str, rows: Sequence[Row]) -> list[str]:
    blocks = []
    metric = comparison.main_metric
    of = [] if target == "*" else [f'target = "{target}"']
    if metric and comparison.metric(metric).is_share and all(metric in row.drop for row in rows):
        worst = max(_end(comparison, row, f"drop.{metric}", low=False) for row in rows)
        limit = max(math.ceil(round(worst / POINT_STEP, 6)) * POINT_STEP, LEAST_DROP)
        limit = min(limit, MOST_SENSIBLE_DROP - POINT_STEP)  # few samples have wide intervals
        said = ", ".join(f"{100 * row.drop[metric]:.2f}" for row in rows)
        blocks.append(_table(f"points lost: {said}", f"drop.{metric}", *of, f"max = {limit:g}"))
    shares = [row.agreement for row in rows if row.agreement is not None]
    if len(shares) == len(rows):
        agreement = min(_end(comparison, row, "agreement", low=True) for row in rows)
        said = ", ".join(f"{share:.4f}" for share in shares)
        limit = math.floor(round(agreement / LEAST_DROP, 6)) * LEAST_DROP
        blocks.append(_table(f"answers equal to FP32's: {said}", "agreement", *of, f"min = {limit:g}"))
    noise = [row.sqnr_db for row in rows if row.sqnr_db is not None]
    if noise:
        said = ", ".join(f"{value:.1f}" for value in noise)
        blocks.append(_table(f"dB: {said}", "sqnr_db", *of, f"min = {math.floor(min(noise) - SPARE_DB)}"))
    return blocks


def _end(comparison: Comparison, row: Row, metric: str, low: bool) -> float:
    """Return one bound of the interval, or the value if there is no interval."""
    found = figure(comparison, row, metric)
    assert found is not None
    end = found.low if low else found.high
    return found.value if end is None else end


def _speed(comparison: Comparison, target: str, rows: Sequence[Row]) -> str:
    """Leave room, and stay below the interval: within it, the rule could not judge this very run."""
    least = min(min(SPARE_SPEED * row.speedup, _end(comparison, row, "speedup", low=True)) for row in rows)
    limit = max(math.floor(round(least / 0.05, 6)) * 0.05, 1.0)
    said = ", ".join(f"{row.speedup:.2f}" for row in rows)
    return _table(f"times FP32's speed on {target}: {said}", "speedup", f'target = "{target}"', f"min = {limit:.2f}")


def _baseline(comparison: Comparison, metric: str | None) -> str:
    """Write the rules that need ``--baseline``, commented out."""
    share = metric if metric and comparison.metric(metric).is_share else None
    accuracy = f"metrics.{share}.value" if share else "agreement"
    fall = _table("", accuracy, 'against = "baseline"', f"max_fall = {FALL:g}")
    if metric and share is None:
        fall = _table("", "sqnr_db", 'against = "baseline"', f"max_fall = {SPARE_DB:g}")
    rise = _table("", "latency_ms.p50", 'against = "baseline"', f'max_rise = "{RISE}"')
    lines = f"With --baseline PREVIOUS, these hold the next run to the last one:\n{fall}\n{rise}".splitlines()
    return "\n".join(f"# {line}".rstrip() for line in lines) + "\n"


def _table(said: str, metric: str, *lines: str) -> str:
    comment = [f"# {said}"] if said else []
    return "\n".join([*comment, "[[gate]]", f'metric = "{metric}"', *lines]) + "\n"
