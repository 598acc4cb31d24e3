"""``quantkit report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from quantkit.cli.options import Json, NoThumbnails, Quiet, Run, Verbose


def report(
    run: Run = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--output", help="Where the HTML file goes; default: report.html in the run."),
    ] = None,
    chart: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--chart", help="Write the picture of accuracy against latency to this .svg or .png, too."),
    ] = None,
    no_thumbnails: NoThumbnails = False,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Write the run's report.html and summary.md."""
    from quantkit.cli.console import configure, print_json, stdout
    from quantkit.pipeline.report import write_chart, write_report
    from quantkit.pipeline.run_directory import find_run

    configure(verbose, quiet)
    folder = find_run(run)
    written = {}
    if chart is not None:
        written["chart"] = str(write_chart(folder, chart))
    written["report"] = str(write_report(folder, output, pictures=False if no_thumbnails else None))
    if as_json:
        print_json(written)
    else:
        for path in written.values():
            stdout.print(path, markup=False)
