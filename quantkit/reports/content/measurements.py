"""The report's table of measurements: figures first, no column that says nothing, no row that is FP16 by name only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from quantkit.core.comparison import Comparison, Row
from quantkit.gates.recommendation import recommend
from quantkit.reports import wording
from quantkit.reports.content.table import Cell, Column, columns

ORDER = ("main", "lost", "p50", "speedup", "agreement", "sqnr")  # of the columns behind the model; the others follow
LAST = ("size", "ran")
ALWAYS = ("main", "lost", "p50", "speedup", "size")  # shown even if every row has the same
_HALF = re.compile(r"(?:fp?|float|bf)16")


@dataclass(frozen=True)
class Measurements:
    """A table.

    Attributes:
        columns: Its columns; the first one names the model.
        rows: The rows to show at once.
        folded: The rows of FP16 that compute in FP32, which are shown after a click.
        same: What every row has, in words, instead of a column each.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    folded: tuple[Row, ...]
    same: tuple[str, ...]

    @property
    def feed(self) -> str:
        """The batch or shape that all rows were timed at; empty if there are several."""
        return one_feed(self.rows)

    @property
    def folded_words(self) -> str:
        """Why rows are folded, in a line; empty if none are."""
        targets = list(dict.fromkeys(row.target for row in self.folded))
        where = " and of ".join(targets)
        return f"FP16 of {where} computes in FP32 here: a smaller file, nothing else." if targets else ""


def measurements(comparison: Comparison) -> Measurements:
    """Return the table of a comparison."""
    chosen = [choice.row for choice in recommend(comparison).each]
    folded = tuple(row for row in comparison.rows if is_half_by_name_only(row) and not any(row is c for c in chosen))
    rows = tuple(row for row in comparison.rows if not any(row is other for other in folded))
    found = {name: [c for c in columns(comparison) if c.name == name] for name in _names(columns(comparison))}
    several = len({(row.target, row.device) for row in rows}) > len({row.target for row in rows})
    found["p50"] = [_with_details(found["p50"][0], "p90 · p99", found.pop("p90") + found.pop("p99"))]
    if "memory" in found:
        found["memory"] = [_with_details(found["memory"][0], "W · clock", found.pop("power"), details=True)]
    ran, target = found["ran"][0], found.pop("target")[0]
    found["ran"] = [replace(ran, cell=_beneath(ran.cell, lambda row: target.cell(row).detail))]
    found["sqnr"] = [replace(column, cell=_part_unnamed(column.cell)) for column in found["sqnr"]]
    model = _model(found.pop("precision")[0], several, one_feed(rows))
    order = [*ORDER, *(name for name in found if name not in (*ORDER, *LAST)), *LAST]
    kept, same = [model], []
    for column in (column for name in order for column in found.get(name, [])):
        cells = {(cell.text, cell.detail) for cell in map(column.cell, rows)}
        if column.name in ALWAYS or len(cells) > 1 or len(rows) < 2:
            kept.append(column)
        elif (text := cells.pop()[0]) != wording.DASH:
            same.append(_in_words(column, text))
    return Measurements(tuple(kept), rows, folded, tuple(same))


def is_half_by_name_only(row: Row) -> bool:
    """True for FP16 whose layers all compute in FP32, as a CPU's do that has no FP16."""
    told = row.executed_precision not in ("", "unknown")
    return row.precision == "fp16" and told and not _HALF.search(row.executed_precision)


def _names(found: Iterable[Column]) -> list[str]:
    return list(dict.fromkeys(column.name for column in found))


def one_feed(rows: Sequence[Row]) -> str:
    """Return the batch or shape that all rows were timed at; empty if there are several."""
    feeds = {row.feed: row.feed_name for row in rows}
    return next(iter(feeds.values())) if len(feeds) == 1 else ""


def _part_unnamed(cell: Callable[[Row], Cell]) -> Callable[[Row], Cell]:
    """Leave the name of the worst part to the table of outputs, which has room for it."""

    def unnamed(row: Row) -> Cell:
        own = cell(row)
        figure, named, _ = own.detail.partition(" in ")
        return replace(own, detail=f"part {figure}" if named else own.detail)

    return unnamed


def _model(precision: Column, several: bool, feed: str) -> Column:
    """The column that names a row: its target and precision, its device if a target has several, and its method.

    The feed that all rows have is not among it.
    """

    def cell(row: Row) -> Cell:
        own = precision.cell(row)
        told = [text for text in own.detail.split(", ") if text and text != feed]
        detail = ", ".join([row.device] * several + told)
        return Cell(f"{row.target} {own.text}", f"{row.target} {row.device} {row.precision}", detail)

    return Column("Model", "Runtime and precision of the artifact; calibration method", cell, False, "model")


def _beneath(cell: Callable[[Row], Cell], detail: Callable[[Row], str]) -> Callable[[Row], Cell]:
    return lambda row: replace(cell(row), detail=detail(row))


def _with_details(column: Column, heading: str, further: Sequence[Column], details: bool = False) -> Column:
    """Set the figures of further columns beneath those of one; ``details`` adds what stood beneath them."""

    def beneath(row: Row) -> str:
        cells = [own.cell(row) for own in further]
        shown = [part for own in cells for part in (own.text, own.detail if details else "")]
        return " · ".join(part for part in shown if part and part != wording.DASH)

    hint = "; beneath it ".join((column.hint, *(own.hint[:1].lower() + own.hint[1:] for own in further)))
    return replace(column, hint=hint, cell=_beneath(column.cell, beneath), heading=heading)


def _in_words(column: Column, text: str) -> str:
    title, unit = column.parts
    return f"{title} {text} {unit}".rstrip()
