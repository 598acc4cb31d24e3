"""The error of each output and of its parts, beside one another for all rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantkit.core.comparison import OutputError, Row
from quantkit.reports import wording


@dataclass(frozen=True)
class OutputTable:
    """A table of errors.

    Attributes:
        heads: The name of each compared row.
        lines: For each output or part its name, and a cell for each compared row.
    """

    heads: tuple[str, ...]
    lines: tuple[tuple[str, tuple[str, ...]], ...]


def output_table(rows: Sequence[Row]) -> OutputTable | None:
    """Return the table; None if there is one output without parts, whose SQNR the table of rows has already."""
    compared = list({row.key: row for row in reversed(rows) if row.outputs}.values())[::-1]
    names = list(dict.fromkeys(error.name for row in compared for error in row.outputs))
    plain = all(error.has_sqnr and not error.left_out for row in compared for error in row.outputs)
    if not names or (len(names) == 1 and plain):
        return None
    heads = tuple(
        f"{row.target} {row.precision.upper()}{f', {row.variant}' if row.variant else ''}" for row in compared
    )
    by_name = [{error.name: error for error in row.outputs} for row in compared]
    return OutputTable(heads, tuple((name, tuple(_cell(own.get(name)) for own in by_name)) for name in names))


def _cell(error: OutputError | None) -> str:
    if error is None:
        return wording.DASH
    if error.equal is not None:
        text = f"{wording.percent(error.equal)} equal"
    elif not error.measured:
        text = "not compared"
    else:
        text = f"{wording.sqnr(error.sqnr_db)} dB"
        if error.cosine is not None and error.largest_difference is not None:
            text += f", cosine {error.cosine:.5f}, error {error.largest_difference:.3g} at most"
    return f"{text}, but for {error.left_out} samples of another size" if error.left_out and error.measured else text
