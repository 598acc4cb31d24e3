"""``quantkit export``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantkit.cli.options import Json, Placements, Precisions, Quiet, Run, Targets, Verbose

if TYPE_CHECKING:
    from quantkit.core.artifact import Artifact


def export(
    run: Run = None,
    target: Targets = None,
    precision: Precisions = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for <target>/<precision>/; default: the run's artifacts/."),
    ] = None,
    tensorrt: Annotated[
        str | None,
        typer.Option("--tensorrt", help="Version in the calibration cache [8.6.0]."),
    ] = None,
    placement: Placements = None,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Write a calibrated run's artifacts: Q/DQ ONNX, TensorRT cache and ranges, OpenVINO IR."""
    from quantkit.cli.console import configure, print_json
    from quantkit.cli.settings import with_environment
    from quantkit.core.recipe import Recipe
    from quantkit.pipeline.export import export_all
    from quantkit.pipeline.run_directory import ARTIFACTS, find_run
    from quantkit.pipeline.run_files import load_calibration, run_config, write_config
    from quantkit.pipeline.writing import writing_artifacts, writing_results

    progress = configure(verbose, quiet)
    folder = find_run(run)
    settings = with_environment(run_config(folder)).with_values("export", tensorrt=tensorrt)
    settings = settings.with_values("openvino", placement=placement or None)
    destination = output if output is not None else folder / ARTIFACTS
    calibration = load_calibration(folder)
    with writing_artifacts(calibration, destination):
        artifacts = export_all(settings, Recipe.of(calibration), destination, progress, target, precision)
    if tensorrt is not None or placement:  # for build and compare
        with writing_results(calibration):
            remembered = run_config(folder).with_values("export", tensorrt=tensorrt)
            write_config(folder, remembered.with_values("openvino", placement=placement or None))
    if as_json:
        print_json(artifact_list(artifacts))
        return
    print_artifacts(artifacts)


def artifact_list(artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """Describe artifacts for JSON."""
    return [
        {
            "target": a.target,
            "precision": a.precision,
            "files": list(map(str, a.files)),
            "layers": None if a.layers is None else a.layers.to_dict(),
            "notes": list(a.notes),
        }
        for a in artifacts
    ]


def print_artifacts(artifacts: Sequence[Artifact]) -> None:
    """Print a line for each artifact: the file to load, and the names of the files beside it."""
    from quantkit.cli.console import print_table

    rows = [
        [a.target, a.precision, f"{a.size_bytes / 1e6:.3g}", " + ".join([str(a.path), *(f.name for f in a.files[1:])])]
        for a in artifacts
    ]
    print_table(["target", "precision", "MB", "files"], rows, left=2)
