"""``quantkit compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantkit.cli.options import (
    Classes,
    ComparisonConfig,
    DumpConfig,
    Json,
    Labels,
    NoThumbnails,
    Placements,
    Plugins,
    Precisions,
    Preprocessing,
    Quiet,
    Run,
    Samples,
    Seed,
    Targets,
    Verbose,
    Wide,
)

# Columns of the report's table that a narrow terminal can do without, the most dispensable first.
SPARE = ("MB", "p90", "p99", "Watt", "GPU MiB", "/s", "Ran in", "Top-5 %", "Lost pt")

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantkit.config import Config
    from quantkit.core.comparison import Comparison
    from quantkit.core.progress import Progress
    from quantkit.reports.content.table import Cell


def compare(
    run: Run = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Folder of images or .npz, list, table of texts, COCO or YOLO file, .npy or .npz to evaluate on.",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            help="classification, detection, segmentation, embedding, regression, ctc, none (fidelity alone) or an "
            "installed one \\[by data and outputs].",
        ),
    ] = None,
    task_head: Annotated[
        str | None,
        typer.Option("--task-head", help=r"What a detector's outputs mean: yolov8, detr … \[told, where certain]."),
    ] = None,
    task_output: Annotated[
        str | None,
        typer.Option(
            "--task-output", help="The output that holds class scores \\[told from the model, where certain]."
        ),
    ] = None,
    task_axis: Annotated[
        int | None,
        typer.Option("--task-axis", help="The axis of that output along which the classes lie."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="The score above which an answer is yes, for scores of yes or no."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="A metric of your own, as file.py:function; may be repeated."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="INT8 by this calibration method, from the same histograms; may be repeated \\[the run's own].",
        ),
    ] = None,
    target: Targets = None,
    precision: Precisions = None,
    samples: Samples = None,
    batch_size: Annotated[
        list[int] | None,
        typer.Option("--batch-size", min=1, help="Batch to measure latency at; may be repeated [1]."),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            "--shape",
            help="Shape to measure latency at, batch included, such as input_ids=1x64; may be repeated \\[the most "
            "common one of the data].",
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option("--rounds", min=1, help="Rounds to measure latency in, alternating between models \\[10]."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", help="Seconds that latency may take for each model and batch size \\[5]."),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device", help="CPU, GPU, NPU, AUTO, cuda:0 …: one that the target sees; may be repeated \\[its first]."
        ),
    ] = None,
    streams: Annotated[
        list[int] | None,
        typer.Option(
            "--streams", min=1, help="Measure each model as a server with so many requests under way; may be repeated."
        ),
    ] = None,
    plugin: Plugins = None,
    placement: Placements = None,
    hint: Annotated[
        str | None,
        typer.Option("--hint", help="What OpenVINO is asked to be best at: latency or throughput \\[latency]."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="Threads of OpenVINO's CPU device \\[its choice: the cores]."),
    ] = None,
    preprocess: Preprocessing = None,
    seed: Seed = None,
    end_to_end: Annotated[
        bool | None,
        typer.Option(
            "--end-to-end/--network-alone",
            help="Time the way from files to answers, too: decoding, preprocessing, the network, answers "
            "\\[network-alone].",
        ),
    ] = None,
    classes: Classes = None,
    labels: Labels = None,
    config: ComparisonConfig = None,
    no_thumbnails: NoThumbnails = False,
    as_json: Json = False,
    wide: Wide = False,
    dump_config: DumpConfig = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Measure accuracy, agreement, SQNR and latency of each precision on each target, on this machine.

    FP32 is always measured: the others are compared with it.
    """
    from quantkit.cli.console import configure, log, print_json, print_raw
    from quantkit.cli.settings import absolute, comparison_config, plugins_of, with_preprocess
    from quantkit.core.files import make_folder
    from quantkit.pipeline.report import write_report
    from quantkit.pipeline.run_directory import find_run
    from quantkit.pipeline.writing import writing_into

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
    settings = settings.with_values(
        "task",
        name=task,
        head=task_head,
        output=task_output,
        axis=task_axis,
        threshold=threshold,
        metrics=metric or None,
    )
    settings = settings.with_values(
        "compare",
        targets=target or None,
        precisions=precision or None,
        batch_sizes=batch_size or None,
        shapes=shape or None,
        device=device or None,
        streams=streams or None,
        rounds=rounds,
        seconds=seconds,
        end_to_end=end_to_end,
        methods=method or None,
    )
    settings = settings.with_values("openvino", placement=placement or None, hint=hint, threads=threads)
    settings = settings.with_values("build", plugins=plugins_of(plugin))
    if dump_config:
        print_raw(settings.to_toml())
        return
    make_folder(folder)  # fail before the measurement if the run cannot be written
    with writing_into(folder):
        comparison = _measure(settings, folder, progress)
        _remember(settings, folder, settings.report.thumbnails and not no_thumbnails)
        report = write_report(folder)
    if as_json:
        print_json(comparison)
        return
    print_comparison(comparison)
    log.info("Report: %s", report)


def _measure(settings: Config, folder: Path, progress: Progress) -> Comparison:
    """Compare the run in ``folder``, and save the comparison there."""
    from quantkit.core.recipe import Recipe
    from quantkit.pipeline.comparison.stage import compare as run_comparison
    from quantkit.pipeline.run_directory import ARTIFACTS
    from quantkit.pipeline.run_files import load_calibration, save_comparison

    comparison = run_comparison(settings, Recipe.of(load_calibration(folder)), folder / ARTIFACTS, progress)
    return save_comparison(comparison, folder)


def _remember(settings: Config, folder: Path, thumbnails: bool) -> None:
    """Store where the data and its labels are and whether thumbnails are allowed in the run's configuration.

    The measured targets and precisions are not stored, because they must not limit the next command.
    """
    from quantkit.pipeline.run_files import stored_config, write_config

    run = stored_config(folder)
    places = {"evaluation": settings.data.evaluation, "labels": settings.data.labels}
    remembered = run.model_copy(update={"data": run.data.model_copy(update=places)})
    write_config(folder, remembered.with_values("report", thumbnails=None if thumbnails else False))


def print_comparison(comparison: Comparison) -> None:
    """Print the rows as a table with the columns of the report, and what to ship."""
    from quantkit.cli.console import stdout
    from quantkit.cli.tables import print_table
    from quantkit.gates.recommendation import recommend
    from quantkit.gates.recommendation_words import sentence
    from quantkit.reports.content.table import columns
    from quantkit.reports.content.verdict import slow_rows

    shown = columns(comparison)
    feeds = list({row.feed: row.feed_name for row in comparison.rows}.values())
    cells = [[column.cell(row) for column in shown] for row in comparison.rows]
    short = [[_short(place, cell, cells) for place, cell in enumerate(own)] for own in cells]
    left = sum(not column.numeric for column in shown)
    rows = [[_text(cell) for cell in own] for own in cells]
    print_table([column.title for column in shown], rows, left=left, spare=SPARE, short=short)
    at = f"latency at {feeds[0]} on " if len(feeds) == 1 else "on "
    machine = comparison.environment
    gpu = f"; {machine.gpu}: p50 of the network alone, by CUDA events" if machine.gpu else ""
    if any(row.end_to_end for row in comparison.rows):
        print_end_to_end(comparison)
    print_serving(comparison)
    slow = "".join(f"; {told}" for told in slow_rows(comparison))
    stdout.print(
        f"{comparison.samples} samples, {comparison.labelled} labelled; {at}{machine.cpu}, {machine.cores} cores{gpu}"
        f"{slow}",
        markup=False,
    )
    stdout.print(f"Recommended: {sentence(recommend(comparison).overall, comparison)}", markup=False)


def print_end_to_end(comparison: Comparison) -> None:
    """Print what each model takes from a file to an answer, and what would mend the bottleneck."""
    from quantkit.cli.console import stdout
    from quantkit.cli.tables import print_table
    from quantkit.core.end_to_end import PARTS
    from quantkit.reports.content.end_to_end import advice, pipelines

    rows = [
        [
            own.title,
            *(f"{ms:.3g}" for ms in (*own.times.parts.values(), own.times.total, own.times.per_second)),
            PARTS[own.times.bottleneck],
        ]
        for own in pipelines(comparison.rows)
    ]
    heads = ["file to answer, ms", *PARTS, "in all", "samples/s, reading ahead", "most of it"]
    print_table(heads, rows, left=1)
    for sentence in advice(comparison.rows):
        stdout.print(sentence, markup=False)


def print_serving(comparison: Comparison) -> None:
    """Print what each model gives as a server, if that was measured."""
    from quantkit.cli.console import stdout
    from quantkit.cli.tables import print_table
    from quantkit.reports.content.serving import knees, served_models, serving_table

    served = served_models(comparison)
    if not served:
        return
    titles, rows = serving_table(served)
    print_table(["as a server", *titles], rows, left=1)
    for sentence in knees(served):
        stdout.print(sentence, markup=False)


def _short(place: int, cell: Cell, cells: Sequence[Sequence[Cell]]) -> str:
    """Return a cell without its detail, unless that tells it from another of the same text, as a method does."""
    names = isinstance(cell.key, str)
    details = {own[place].detail for own in cells if own[place].text == cell.text}
    return _text(cell) if names and len(details) > 1 else cell.text


def _text(cell: Cell) -> str:
    return f"{cell.text} [{cell.detail}]" if cell.detail else cell.text
