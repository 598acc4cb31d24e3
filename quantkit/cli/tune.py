"""``quantkit tune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantkit.cli.options import (
    Classes,
    ComparisonConfig,
    Fresh,
    Json,
    Labels,
    Preprocessing,
    Quiet,
    Run,
    Seed,
    Verbose,
    Wide,
)

if TYPE_CHECKING:
    from quantkit.core.tuning import Tuning


def tune(
    run: Run = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder, text list, .npy or .npz: half is tuned on, the other half reported."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="The target to tune for \\[the run's; openvino, onnxruntime].")
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option("--max-drop", help="Goal: the main metric drops by at most so many points \\[0.5]."),
    ] = None,
    min_sqnr: Annotated[
        float | None, typer.Option("--min-sqnr", help="Goal: an SQNR of the worst output of at least so many dB.")
    ] = None,
    min_agreement: Annotated[
        float | None, typer.Option("--min-agreement", help="Goal: at least so many percent of answers equal to FP32's.")
    ] = None,
    within: Annotated[
        str | None, typer.Option("--within", help="Goal: a main metric so little below FP16's, as 2%-of-fp16.")
    ] = None,
    max_slowdown: Annotated[
        float | None,
        typer.Option("--max-slowdown", help="Percent that the result may be slower than the run's own INT8."),
    ] = None,
    budget: Annotated[str | None, typer.Option("--budget", help="Time for trying, as 90s, 20m or 1h \\[20m].")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the result \\[RUN-tuned].", show_default=False)
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, help="At most so many samples of the data.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Batch to measure latency at \\[1].")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="Where to measure \\[the target's first].")] = None,
    preprocess: Preprocessing = None,
    seed: Seed = None,
    classes: Classes = None,
    labels: Labels = None,
    config: ComparisonConfig = None,
    fresh: Fresh = False,
    as_json: Json = False,
    wide: Wide = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Make INT8 accurate enough: other ranges, corrected biases, and layers in floating point where they buy most.

    Every step is measured on the target, and taken only if it is better. The result is a run of its own, whether or not
    it meets the goal: exit 0 it does, 1 it does not.
    """
    from quantkit.cli.console import configure, log, print_json
    from quantkit.cli.documents import TuneDocument
    from quantkit.cli.settings import absolute, comparison_config, with_preprocess
    from quantkit.config import TuneConfig
    from quantkit.core.recipe import Recipe
    from quantkit.pipeline.report import REPORT_FILE
    from quantkit.pipeline.run_directory import find_run
    from quantkit.pipeline.run_files import load_calibration
    from quantkit.pipeline.tuning.run import request_of
    from quantkit.pipeline.tuning.run import tune as run_tuning

    progress = configure(verbose, quiet)
    folder = find_run(run)
    settings = with_preprocess(comparison_config(config, folder, data), preprocess)
    settings = settings.with_values(
        "data",
        evaluation=absolute(data),
        eval_samples=samples,
        seed=seed,
        classes=absolute(classes),
        labels=absolute(labels),
    )
    settings = settings.with_values("compare", device=device, batch_sizes=None if batch_size is None else [batch_size])
    given = {
        "max_drop": max_drop,
        "min_sqnr": min_sqnr,
        "min_agreement": min_agreement,
        "within": within,
        "max_slowdown": max_slowdown,
    }
    own = settings.tune or TuneConfig()
    goals = [name for name in given if name != "max_slowdown"]
    if any(given[name] is not None for name in goals):  # a goal of the command line replaces that of the file
        own = own.model_copy(update=dict.fromkeys(goals))
    more = given | {"target": target, "budget": budget}
    own = own.model_copy(update={name: value for name, value in more.items() if value is not None})
    recipe = Recipe.of(load_calibration(folder))
    found = run_tuning(settings, recipe, request_of(own), absolute(output), progress, fresh)
    if as_json:
        print_json(TuneDocument(**dict(found), output=str(found.folder)))
    else:
        print_tuning(found)
        log.info("Run: %s; report: %s", found.folder, (found.folder or Path()) / REPORT_FILE)
    raise typer.Exit(0 if found.met else 1)


def print_tuning(found: Tuning) -> None:
    """Print the steps as a table, and what came out as a sentence."""
    from quantkit.cli.console import stdout
    from quantkit.cli.tables import print_table
    from quantkit.reports.content.tuning import columns, outcome

    heads, rows = columns(found)
    print_table(heads, rows, left=3)
    stdout.print(outcome(found), markup=False)
    for note in found.notes:
        stdout.print(note, markup=False)
