"""Warnings about layers that were meant for INT8 but ran in another precision."""

from __future__ import annotations

from collections.abc import Sequence

from quantkit.core.comparison import Row
from quantkit.core.wording import some
from quantkit.reports.content.layer_times import fallbacks_of


def fallback_warnings(rows: Sequence[Row]) -> list[str]:
    """Warn about each row that has such layers, with the layers grouped by reason."""
    warnings = []
    for row in rows:
        reasons: dict[str, list[str]] = {}
        for layer in fallbacks_of(row):
            reasons.setdefault(layer.reason, []).append(layer.name)
        if not reasons:
            continue
        told = "; ".join(f"{reason} ({some(names)})" for reason, names in reasons.items())
        count = sum(map(len, reasons.values()))
        name = " ".join(filter(None, (row.target, row.precision.upper(), row.variant and f"({row.variant})")))
        were = "1 layer" if count == 1 else f"{count} layers"
        warnings.append(f"In {name}, {were} meant for INT8 ran in floating point: {told}.")
    return warnings
