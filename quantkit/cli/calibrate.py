"""``quantkit calibrate``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantkit.cli.options import (
    Classes,
    ConfigFile,
    DumpConfig,
    Fresh,
    Json,
    Model,
    NoExport,
    Output,
    Placements,
    Preprocessing,
    Quiet,
    Samples,
    Seed,
    Size,
    Verbose,
    Wide,
)

if TYPE_CHECKING:
    from quantkit.config import Config
    from quantkit.core.calibration import Calibration
    from quantkit.core.progress import Progress
    from quantkit.pipeline.calibration.stage import CountAll


def calibrate(
    model: Model = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Folder of images or .npz, text list of images, table of texts, COCO or YOLO file, .npy or .npz.",
        ),
    ] = None,
    output: Output = None,
    batch_axis: Annotated[
        list[str] | None,
        typer.Option(
            "--batch-axis",
            help="Axis of the inputs along which samples are stacked, or none; input=axis for one input, may be "
            "repeated \\[told from the model].",
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="mse-robust, mse, entropy, percentile, minmax, another of docs/calibrators.md, an installed one, or "
            "file.py:function \\[mse-robust].",
        ),
    ] = None,
    percentile: Annotated[
        float | None,
        typer.Option("--percentile", help="Percent of the values that the percentile methods keep [99.99]."),
    ] = None,
    samples: Samples = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            min=1,
            help="How many first samples fix the bin widths: TensorRT's calibration batch size [1].",
        ),
    ] = None,
    preprocess: Preprocessing = None,
    size: Size = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", help="Wildcard of nodes and tensors to leave in floating point; may be repeated."),
    ] = None,
    rounding: Annotated[
        str | None,
        typer.Option("--rounding", help="How weights are rounded: least-squares or nearest \\[least-squares]."),
    ] = None,
    tensors: Annotated[
        str | None,
        typer.Option("--tensors", help="all, or quantizable: without what only exists inside a fused kernel \\[all]."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", help="Where the model runs and is counted: cpu, or a GPU such as cuda:0 \\[cpu]."),
    ] = None,
    placement: Placements = None,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard", help="Count one part of the data, such as 2/8, into -o (part-2-of-8), for quantkit merge."
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray", help="Count on the Ray cluster at this address; auto: the one here, or a new one on this machine."
        ),
    ] = None,
    seed: Seed = None,
    select: Annotated[
        str | None,
        typer.Option(
            "--select",
            help="How samples are chosen: random, balanced (classes in turn) or diverse (far apart in the model's own "
            "features) \\[balanced; a list is read from its start].",
        ),
    ] = None,
    classes: Classes = None,
    config: ConfigFile = None,
    fresh: Fresh = False,
    no_export: NoExport = False,
    as_json: Json = False,
    wide: Wide = False,
    dump_config: DumpConfig = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Find every activation's range and write the INT8 artifacts.

    With neither MODEL nor --data, -o DIR solves the run in DIR anew, say with another --method; no image is read.
    """
    from quantkit.cli.console import configure, print_raw
    from quantkit.cli.settings import absolute, parse_batch_axis, with_model, with_preprocess, with_size
    from quantkit.core.errors import BadConfig
    from quantkit.core.references import is_reference
    from quantkit.pipeline.calibration.stage import calibrate as run_calibration

    progress = configure(verbose, quiet)
    earlier = output if model is None and data is None and config is None else None
    own = _settings(config, earlier)
    if earlier is not None and method is None and is_reference(own.calibrate.method):
        raise BadConfig(
            f"The run's ranges are by a function, {own.calibrate.method}, which is not called because a run names it.",
            "Name it, or another, with --method.",
        )
    settings = with_size(with_preprocess(with_model(own, model), preprocess), size)
    settings = settings.with_values("model", batch_axis=parse_batch_axis(batch_axis))
    settings = settings.with_values(
        "data", calibration=absolute(data), samples=samples, seed=seed, select=select, classes=absolute(classes)
    )
    settings = settings.with_values(
        "calibrate",
        method=method,
        percentile=percentile,
        tensors=tensors,
        rounding=rounding,
        batch_size=batch_size,
        exclude=exclude or None,
        device=device,
    )
    settings = settings.with_values("openvino", placement=placement or None)
    if dump_config:
        print_raw(settings.to_toml())
        return
    if shard is not None:
        if ray is not None:
            raise BadConfig("--shard and --ray exclude each other.", "Ray divides the data itself: leave out --shard.")
        _one_shard(settings, shard, output, fresh, as_json, progress)
        return
    calibration = run_calibration(settings, output, fresh=fresh, progress=progress, count_all=_counter(ray))
    finish_calibration(settings, calibration, no_export, as_json, progress)


def _settings(config: Path | None, earlier: Path | None) -> Config:
    """Read the settings of the run in ``earlier`` if it is one, else those of ``config`` or of this folder."""
    from quantkit.cli.settings import base_config, with_environment
    from quantkit.pipeline.run_directory import is_run
    from quantkit.pipeline.run_files import run_config

    if earlier is not None and is_run(earlier):
        return with_environment(run_config(earlier))
    return base_config(config)


def _counter(ray: str | None) -> CountAll | None:
    """Return what counts on the Ray cluster at an address; None for no address."""
    if ray is None:
        return None
    from quantkit.pipeline.calibration.ray import counted_on_ray

    return counted_on_ray(ray)


def finish_calibration(
    settings: Config, calibration: Calibration, no_export: bool, as_json: bool, progress: Progress
) -> None:
    """Export, write the report and print the result. ``no_export`` stops after the calibration."""
    from quantkit.cli.console import print_json, stdout
    from quantkit.cli.documents import CalibrateDocument, Range, artifact_entries
    from quantkit.cli.export import commands_of, print_artifacts
    from quantkit.core.recipe import Recipe
    from quantkit.pipeline.export import export_all
    from quantkit.pipeline.report import write_report
    from quantkit.pipeline.run_directory import ARTIFACTS
    from quantkit.pipeline.writing import writing_results

    folder = calibration.folder
    assert folder is not None
    artifacts, report = [], None
    if not no_export:
        with writing_results(calibration):
            artifacts = export_all(settings, Recipe.of(calibration), folder / ARTIFACTS, progress)
            report = write_report(folder, calibration=calibration)
    if as_json:
        print_json(
            CalibrateDocument(
                run=str(folder),
                method=calibration.method,
                samples=calibration.samples,
                tensors={
                    name: Range(amax=t.amax, low=t.low, high=t.high, method=t.method)
                    for name, t in calibration.tensors.items()
                },
                artifacts=artifact_entries(artifacts, commands_of(artifacts, folder / ARTIFACTS)),
                warnings=tuple(calibration.warnings),
            )
        )
        return
    stdout.print(
        f"{len(calibration.tensors)} tensors calibrated on {calibration.samples} samples by {calibration.method}: "
        f"{folder}",
        markup=False,
    )
    if artifacts:
        print_artifacts(artifacts)
    _next_step(folder, report, settings)


def _one_shard(
    settings: Config, shard: str, output: Path | None, fresh: bool, as_json: bool, progress: Progress
) -> None:
    from quantkit.cli.console import log, print_json, stdout
    from quantkit.cli.documents import ShardDocument
    from quantkit.core.shard import Shard
    from quantkit.pipeline.calibration.shards import calibrate_shard

    part = Shard.parse(shard)
    folder, samples = calibrate_shard(settings, part, output, fresh, progress)
    if as_json:
        print_json(ShardDocument(part=str(folder), shard=str(part), samples=samples))
        return
    stdout.print(f"Shard {part}, {samples} samples: {folder}", markup=False)
    log.info("Next, with the parts of all %d shards: quantkit merge PART... -o DIR", part.of)


def _next_step(folder: Path, report: Path | None, settings: Config) -> None:
    from quantkit.cli.console import log

    data = settings.data.evaluation or "DATA"
    run = shlex.quote(str(folder))
    shown = f"Report: {report}" if report else f"Report: quantkit report {run}"
    log.info("%s\nNext: quantkit compare %s --data %s", shown, run, shlex.quote(str(data)))
