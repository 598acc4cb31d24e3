"""``quantkit merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantkit.cli.options import Json, NoExport, Output, Quiet, Verbose, Wide


def merge(
    parts: Annotated[
        list[Path], typer.Argument(help="The folders that quantkit calibrate --shard wrote, one for each shard.")
    ],
    output: Output = None,
    no_export: NoExport = False,
    as_json: Json = False,
    wide: Wide = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Merge the shards of one calibration into the run that a single machine would have made."""
    from quantkit.cli.calibrate import finish_calibration
    from quantkit.cli.console import configure, log
    from quantkit.pipeline.calibration.shards import merge as merge_parts

    progress = configure(verbose, quiet)
    calibration, settings = merge_parts(parts, output)
    if not no_export and not Path(calibration.model.path).exists():
        log.warning("%s is not here, so nothing is exported: only the ranges are merged.", calibration.model.path)
        no_export = True
    finish_calibration(settings, calibration, no_export, as_json, progress)
