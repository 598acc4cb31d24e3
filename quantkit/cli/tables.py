"""Tables on stdout. On a terminal they leave columns out before they break cells; elsewhere they are complete."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from quantkit.cli.console import log, print_raw, stdout
from quantkit.core.escape import one_line, visible

GAP = 2  # between columns
WIDEST = 10_000
FOLDED = 20  # characters that a folded column has at least
# Cells of the first column or of a column without a title that are coloured as a whole.
COLOURS = {
    "pass": "green",
    "takes it": "green",
    "yes": "green",
    "warn": "yellow",
    "inconclusive": "yellow",
    "not comparable": "yellow",
    "unchecked": "yellow",
    "fail": "bold red",
    "no match": "bold red",
    "refuses": "bold red",
    "no": "red",
}
_wide = False


def show_all_columns(wide: bool) -> bool:
    """Show all columns from now on, however narrow the terminal is."""
    global _wide
    _wide = wide
    return wide


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: int = 1,
    spare: Sequence[str] = (),
    short: Sequence[Sequence[str]] | None = None,
    folded: str | None = None,
) -> None:
    """Print a table on stdout.

    Args:
        columns: The headings.
        rows: The cells of each row.
        left: The number of left-aligned columns at the start; numbers follow, right-aligned. "files" is left-aligned.
        spare: Headings of columns that a narrow terminal can do without, the most dispensable first. Further ones
            follow from the right; the first column stays.
        short: The same rows in fewer words, for a terminal that is too narrow for all columns of ``rows``.
        folded: Heading of a column of sentences, whose cells take several lines where dropping ``spare`` is not enough.
    """
    heads = [one_line(column) for column in columns]
    cells = [[visible(one_line(cell)) for cell in row] for row in rows]
    shown = list(range(len(heads)))
    narrowest = {folded: FOLDED} if folded else {}
    if stdout.is_terminal and not _wide:
        shown = fitting(heads, cells, stdout.width, spare, narrowest)
        if short is not None and len(shown) < len(heads):
            cells = [[visible(one_line(cell)) for cell in row] for row in short]
            shown = fitting(heads, cells, stdout.width, spare, narrowest)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for place in shown:
        aligned = "left" if place < left or heads[place] == "files" else "right"
        fold = stdout.is_terminal and not _wide and heads[place] == folded
        table.add_column(escape(heads[place]), justify=aligned, no_wrap=not fold)  # type: ignore[arg-type]
    for row in cells:
        table.add_row(*[_coloured(row[place], place, heads[place]) for place in shown])
    with io.StringIO() as text:
        colours = stdout.color_system if stdout.is_terminal else None
        width = stdout.width + GAP if stdout.is_terminal and not _wide and folded else WIDEST
        drawn = Console(file=text, width=width, color_system=colours, force_terminal=stdout.is_terminal, emoji=False)  # type: ignore[arg-type]
        drawn.print(table)
        for line in text.getvalue().splitlines():
            print_raw(line.rstrip())
    if len(shown) < len(heads):
        hidden = [heads[place] for place in range(len(heads)) if place not in shown]
        log.info("Left out for want of width: %s. --wide shows all.", ", ".join(hidden))


def fitting(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    spare: Sequence[str] = (),
    narrowest: Mapping[str, int] | None = None,
) -> list[int]:
    """Return the places of the columns that fit into ``width`` characters, in order.

    Args:
        heads: The headings.
        rows: The cells of each row.
        width: Of the terminal.
        spare: Headings of the columns to drop first; see :func:`print_table`.
        narrowest: How few characters do for a column whose cells may fold, once the spare columns are dropped.

    Returns:
        The places.
    """
    widths = [max(cell_len(text) for text in (head, *(row[i] for row in rows))) for i, head in enumerate(heads)]
    least = [min(own, (narrowest or {}).get(head, own)) for own, head in zip(widths, heads, strict=True)]
    first = [heads.index(name) for name in spare if name in heads]
    order = first + [place for place in range(len(heads) - 1, 0, -1) if place not in first]
    shown = list(range(len(heads)))
    for dropped, place in enumerate(order):
        taken = widths if dropped < len(first) else least
        if sum(taken[i] for i in shown) + GAP * (len(shown) - 1) <= width:
            break
        shown.remove(place)
    return shown


def _coloured(cell: str, place: int, head: str) -> str:
    colour = COLOURS.get(cell) if place == 0 or head in ("", "runs here", "exports") else None
    return f"[{colour}]{escape(cell)}[/]" if colour else escape(cell)
