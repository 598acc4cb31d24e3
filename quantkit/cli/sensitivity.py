"""``quantkit sensitivity``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantkit.cli.options import Classes, ComparisonConfig, Json, Labels, Preprocessing, Quiet, Run, Seed, Verbose, Wide

if TYPE_CHECKING:
    from quantkit.core.sensitivity import Sensitivity

SHOWN = 20  # layers; -v shows all


def sensitivity(
    run: Run = None,
    target: Annotated[
        str | None,
        typer.Option("--target", help="The target whose INT8 is simulated \\[the run's; openvino, onnxruntime]."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder, text list, .npy or .npz to measure on \\[the calibration's]."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, help="At most so many samples, by a seeded choice \\[100].")
    ] = None,
    preprocess: Preprocessing = None,
    seed: Seed = None,
    classes: Classes = None,
    labels: Labels = None,
    config: ComparisonConfig = None,
    as_json: Json = False,
    wide: Wide = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Tell which layers cost the accuracy: each one's loss when it alone is in INT8, and when all but it are.

    The report's "Where the accuracy goes" begins with the worst of them afterwards. -v shows all layers.
    """
    from quantkit.cli.console import configure, log, print_json
    from quantkit.cli.settings import absolute, comparison_config, with_preprocess
    from quantkit.core.recipe import Recipe
    from quantkit.pipeline.report import write_report
    from quantkit.pipeline.run_directory import find_run
    from quantkit.pipeline.run_files import load_calibration, save_sensitivity
    from quantkit.pipeline.sensitivity.stage import sensitivity as measure
    from quantkit.pipeline.writing import writing_into

    progress = configure(verbose, quiet)
    folder = find_run(run)
    settings = with_preprocess(comparison_config(config, folder, data), preprocess)
    settings = settings.with_values("data", seed=seed, classes=absolute(classes), labels=absolute(labels))
    with writing_into(folder):
        recipe = Recipe.of(load_calibration(folder))
        found = save_sensitivity(measure(settings, recipe, target, absolute(data), samples, progress), folder)
        report = write_report(folder)
    if as_json:
        print_json(found)
        return
    print_sensitivity(found, None if verbose else SHOWN)
    log.info("Report: %s", report)


def print_sensitivity(found: Sensitivity, shown: int | None) -> None:
    """Print the layers that lose most as a table; None shows all."""
    from quantkit.cli.console import stdout
    from quantkit.cli.tables import print_table
    from quantkit.reports.content.culprits import columns, summary

    heads, rows = columns(found)
    print_table(heads, rows[:shown], left=3)
    if shown is not None and len(rows) > shown:
        stdout.print(f"... and {len(rows) - shown} more (-v)", markup=False)
    stdout.print(summary(found), markup=False)
