"""What to ship: for each target, device, batch size and shape the fastest row that loses nothing beyond chance.

Rows that are equally fast, as far as the rounds tell, are decided by accuracy: FP32 before FP16, FP16 before INT8, and
of one precision the greater SQNR.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from quantkit.core.artifact import KNOWN_PRECISIONS
from quantkit.core.comparison import Comparison, Row
from quantkit.gates.loss import Loss, loss_of
from quantkit.gates.speed import clearly_faster

Outcome = Literal["int8", "not worth it", "tune", "by name only", "not measured"]


@dataclass(frozen=True)
class Choice:
    """What to ship on one target and device at one batch size.

    Attributes:
        row: The row to ship.
        outcome: What becomes of INT8. "int8": it is shipped. "not worth it": another row is as accurate and not slower.
            "tune": it is faster than what is shipped, but loses accuracy. "by name only": none of its layers ran in
            INT8. "not measured": there is no INT8.
        int8: The INT8 row that this was judged by: the one that is shipped, or else the fastest; None without any.
        loss: What that row loses.
        loss_of_row: What the row to ship loses: only if all rows lose something.
    """

    row: Row
    outcome: Outcome
    int8: Row | None = None
    loss: Loss | None = None
    loss_of_row: Loss | None = None

    @property
    def is_for(self) -> tuple[str, str, tuple[int, str]]:
        """Target, device, and batch size with shape."""
        return self.row.target, self.row.device, self.row.feed


@dataclass(frozen=True)
class Choices:
    """A choice for each target, device and feed, and the fastest of those at the first feed of the smallest batch."""

    overall: Choice
    each: tuple[Choice, ...]

    def of(self, row: Row) -> Choice:
        """Return the choice for the target, device and batch size of a row."""
        return next(c for c in self.each if c.is_for == (row.target, row.device, row.feed))


def recommend(comparison: Comparison) -> Choices:
    """Judge from the figures of a comparison, and their spread, what to ship."""
    groups: dict[tuple[str, str, tuple[int, str]], list[Row]] = {}
    for row in comparison.rows:
        groups.setdefault((row.target, row.device, row.feed), []).append(row)
    choices = tuple(_choice(rows, comparison) for rows in groups.values())
    smallest = first_feed(comparison)
    overall = _best([choice.row for choice in choices if choice.row.feed == smallest])
    return Choices(next(choice for choice in choices if choice.row is overall), choices)


def first_feed(comparison: Comparison) -> tuple[int, str]:
    """Return the batch size and shape that stand for all: the first that was measured of the smallest batch."""
    return min((row.feed for row in comparison.rows), key=lambda feed: feed[0], default=(1, ""))


def _choice(rows: Sequence[Row], comparison: Comparison) -> Choice:
    losses = [loss_of(row, comparison) for row in rows]
    pairs = list(zip(rows, losses, strict=True))
    sound = [row for row, loss in pairs if loss is None and not row.is_int8_by_name_only]
    chosen = _best(sound or [row for row in rows if row.is_reference] or rows)
    of_chosen = next(loss for row, loss in pairs if row is chosen)
    int8 = [(row, loss) for row, loss in pairs if row.precision == "int8"]
    if chosen.precision == "int8":
        return Choice(chosen, "int8", chosen, of_chosen, of_chosen)
    if not int8:
        return Choice(chosen, "not measured", loss_of_row=of_chosen)
    real = [(row, loss) for row, loss in int8 if not row.is_int8_by_name_only]
    if not real:
        return Choice(chosen, "by name only", int8[0][0], int8[0][1], of_chosen)
    lossy = [(row, loss) for row, loss in real if loss is not None and clearly_faster(row, chosen)]
    row, loss = min(lossy or real, key=lambda pair: pair[0].latency_ms.p50)
    return Choice(chosen, "tune" if lossy else "not worth it", row, loss, of_chosen)


def _best(rows: Sequence[Row]) -> Row:
    """Return the most accurate of the rows that no other is clearly faster than."""
    for row in sorted(rows, key=_inaccuracy):
        if not any(clearly_faster(other, row) for other in rows if other is not row):
            return row
    return min(rows, key=lambda row: row.latency_ms.p50)


def _inaccuracy(row: Row) -> tuple[int, float]:
    order = KNOWN_PRECISIONS.index(row.precision) if row.precision in KNOWN_PRECISIONS else len(KNOWN_PRECISIONS)
    return order, -math.inf if row.sqnr_db is None else -row.sqnr_db
