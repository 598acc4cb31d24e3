"""``quantkit report``."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from quantkit.cli.options import Force, Json, NoThumbnails, Quiet, Run, Verbose


def report(
    run: Run = None,
    later: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN]", help="A later run, to set beside the first.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Where the HTML file goes; default: in the run, the later of two."),
    ] = None,
    chart: Annotated[
        Path | None,
        typer.Option("--chart", help="Write the picture of accuracy against latency to this .svg or .png, too."),
    ] = None,
    graph: Annotated[
        bool | None,
        typer.Option(
            "--graph/--no-graph",
            help="Draw the network, or leave it out; default: draw it if the report stays below 2 MB.",
            show_default=False,
        ),
    ] = None,
    no_thumbnails: NoThumbnails = False,
    force: Force = False,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Write the run's report.html and summary.md; of two runs, difference.html with what differs between them."""
    from quantkit.cli.console import configure, print_json, stdout
    from quantkit.cli.documents import DifferenceDocument, ReportDocument
    from quantkit.core.errors import BadConfig
    from quantkit.core.overwriting import CHART_MARK, HTML_MARK, check_overwrite
    from quantkit.pipeline.difference import difference_document, write_difference
    from quantkit.pipeline.report import write_chart, write_report
    from quantkit.pipeline.run_directory import find_run

    configure(verbose, quiet)
    folder = find_run(run)
    thumbnails = False if no_thumbnails else None
    if output is not None:
        check_overwrite(output, HTML_MARK, force)
    if chart is not None:
        check_overwrite(chart, CHART_MARK, force)
    if later is not None:
        if chart is not None:
            raise BadConfig("A chart shows one run.", "Leave --chart out, or name one run.")
        if graph:
            raise BadConfig("The network is drawn of one run.", "Leave --graph out, or name one run.")
        with _place(find_run(later), output):
            page = write_difference(folder, find_run(later), output, thumbnails)
        if as_json:
            rows = difference_document(folder, later)
            print_json(DifferenceDocument.model_validate({"report": str(page), "rows": rows}))
        else:
            stdout.print(str(page), markup=False)
        return
    written = {}
    if chart is not None:
        written["chart"] = str(write_chart(folder, chart))
    with _place(folder, output):
        written["report"] = str(write_report(folder, output, thumbnails=thumbnails, graph=graph))
    if as_json:
        print_json(ReportDocument.model_validate(written))
    else:
        for path in written.values():
            stdout.print(path, markup=False)


def _place(folder: Path, output: Path | None) -> AbstractContextManager[None]:
    """Lock the run unless the page goes elsewhere."""
    from quantkit.pipeline.writing import SHORTLY, writing_into

    return writing_into(folder, SHORTLY) if output is None else nullcontext()
