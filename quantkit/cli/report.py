"""``quantkit report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from quantkit.cli.options import Json, Quiet, Run, Verbose


def report(
    run: Run = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--output", help="Where the HTML file goes; default: report.html in the run."),
    ] = None,
    no_thumbnails: Annotated[
        bool,
        typer.Option("--no-thumbnails", help="Show no pictures of samples; for good: [report] thumbnails = false."),
    ] = False,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Write the run's report.html and summary.md."""
    from quantkit.cli.console import configure, print_json, stdout
    from quantkit.pipeline.report import write_report
    from quantkit.pipeline.run_directory import find_run

    configure(verbose, quiet)
    path = write_report(find_run(run), output, pictures=False if no_thumbnails else None)
    if as_json:
        print_json({"report": str(path)})
    else:
        stdout.print(str(path), markup=False)
