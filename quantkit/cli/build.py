"""``quantkit build``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantkit.cli.options import Fresh, Json, Plugins, Precisions, Quiet, Run, Verbose, Wide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantkit.targets.base import Engine


def build(
    run: Run = None,
    target: Annotated[
        str, typer.Option("--target", help="tensorrt, or tensorrt-rtx, which needs no GPU.")
    ] = "tensorrt",
    precision: Precisions = None,
    mode: Annotated[
        str | None,
        typer.Option("--mode", help="Where INT8 comes from: auto, implicit, explicit or strong."),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option("--shape", help="Least, best and largest shape of a dynamic input: input=1x3x224x224:8x…:32x…"),
    ] = None,
    batch_size: Annotated[
        list[int] | None,
        typer.Option("--batch-size", min=1, help="Without --shape: a profile for this batch; may be repeated [1]."),
    ] = None,
    workspace: Annotated[
        int | None,
        typer.Option("--workspace", min=1, help="MiB of scratch memory at most."),
    ] = None,
    sparse: Annotated[
        bool | None,
        typer.Option("--sparse/--dense", help="Let TensorRT choose kernels for weights that are 2:4 sparse [dense]."),
    ] = None,
    plugin: Plugins = None,
    optimization_level: Annotated[
        int | None,
        typer.Option("--optimization-level", min=0, max=5, help="0 builds fastest, 5 runs fastest [TensorRT's: 3]."),
    ] = None,
    compute_capability: Annotated[
        list[str] | None,
        typer.Option(
            "--compute-capability",
            help="A GPU to build for with tensorrt-rtx, such as 8.6; may be repeated \\[8.0 and later].",
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="The GPU, for tensorrt.")] = "cuda:0",
    fresh: Fresh = False,
    as_json: Json = False,
    wide: Wide = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Build a calibrated run's TensorRT engines, each with a JSON of what it was built with.

    TensorRT builds for this machine's GPU, TensorRT for RTX for GPUs that need not be here.
    """
    from quantkit.cli.console import configure, print_json
    from quantkit.cli.documents import BuildDocument, BuiltEngine
    from quantkit.cli.settings import plugins_of, with_environment
    from quantkit.core.artifact import PRECISIONS
    from quantkit.core.errors import BadConfig
    from quantkit.core.recipe import Recipe
    from quantkit.pipeline.build import EngineRequest, build_engines
    from quantkit.pipeline.run_directory import ARTIFACTS, find_run
    from quantkit.pipeline.run_files import load_calibration, run_config, stored_config, write_config
    from quantkit.pipeline.writing import writing_results

    progress = configure(verbose, quiet)
    if shape and batch_size:
        raise BadConfig("Both --shape and --batch-size are given.", "Give the batches in --shape, or leave it out.")
    if compute_capability and target == "tensorrt":
        raise BadConfig(
            "--compute-capability is given, but TensorRT builds for the GPU that is here.",
            "Use --target tensorrt-rtx, or leave it out.",
        )
    folder = find_run(run)
    given: dict[str, Any] = {
        "mode": mode,
        "shapes": shape or ([] if batch_size else None),  # batch sizes replace earlier shapes
        "workspace_mb": workspace,
        "optimization_level": optimization_level,
        "sparse": sparse,
        "compute_capabilities": compute_capability or None,
    }
    settings = with_environment(run_config(folder)).with_values("build", plugins=plugins_of(plugin), **given)
    wanted = EngineRequest(
        target, precision or PRECISIONS, batch_size or ([] if settings.build.shapes else [1]), device, fresh
    )
    calibration = load_calibration(folder)
    with writing_results(calibration):
        engines = build_engines(settings, Recipe.of(calibration), folder / ARTIFACTS, wanted, progress)
        write_config(folder, stored_config(folder).with_values("build", **given))  # for compare
    if as_json:
        built = (BuiltEngine(**dict(e.record), engine=str(e.artifact.path)) for e in engines)
        print_json(BuildDocument(engines=tuple(built)))
        return
    print_engines(engines)


def print_engines(engines: Sequence[Engine]) -> None:
    """Print a line for each engine."""
    from quantkit.cli.console import stdout
    from quantkit.cli.tables import print_table

    columns = list(engines[0].cells)
    rows = [
        [*engine.cells.values(), f"{engine.artifact.size_bytes / 1e6:.3g}", str(engine.artifact.path)]
        for engine in engines
    ]
    print_table([*columns, "MB", "files"], rows, left=len(columns) - 1)
    stdout.print(engines[0].footnote, markup=False)
