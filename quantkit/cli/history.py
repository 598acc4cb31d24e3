"""``quantkit history``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantkit.cli.options import Force, Json, Quiet, Verbose, Wide


def history(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Two compared runs or more, in any order.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write a page with charts to this .html, too.", show_default=False),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    wide: Wide = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Set several compared runs beside one another, oldest first: accuracy, agreement, SQNR, latency and size."""
    import logging

    from quantkit.cli.console import configure, print_json, stdout
    from quantkit.cli.documents import HistoryDocument
    from quantkit.cli.tables import print_table
    from quantkit.core.overwriting import HTML_MARK, check_overwrite
    from quantkit.pipeline.history import load_history, write_history
    from quantkit.reports.content.history import history_document, history_table

    configure(verbose, quiet)
    if output is not None:
        check_overwrite(output, HTML_MARK, force)
    found, uncompared = load_history(runs)
    for folder in uncompared:
        logging.getLogger(__name__).warning("%s is not compared yet, and left out.", folder)
    if output is not None:
        write_history(found, output)
    if as_json:
        written = {} if output is None else {"page": str(output)}
        print_json(HistoryDocument.model_validate(history_document(found) | written))
        return
    heads, rows = history_table(found)
    print_table(heads, rows, left=3)
    if output is not None:
        stdout.print(str(output), markup=False)
