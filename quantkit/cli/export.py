"""``quantkit export``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantkit.cli.options import Json, Placements, Precisions, Quiet, Run, Targets, Verbose, Wide

if TYPE_CHECKING:
    from quantkit.core.artifact import Artifact
    from quantkit.core.calibration import Calibration


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
        typer.Option(
            "--tensorrt", help="Version that will read the files, such as 8.6.1 or 10.3 \\[those of 8.6 to 11]."
        ),
    ] = None,
    placement: Placements = None,
    embed_preprocessing: Annotated[
        bool,
        typer.Option(
            "--embed-preprocessing", help="Write OpenVINO's IR once more, with the preprocessing of images inside."
        ),
    ] = False,
    as_json: Json = False,
    wide: Wide = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Write a calibrated run's artifacts: Q/DQ ONNX, TensorRT cache and ranges, OpenVINO IR."""
    from quantkit.cli.console import configure, log, print_json
    from quantkit.cli.documents import ExportDocument, artifact_entries
    from quantkit.cli.settings import with_environment
    from quantkit.core.recipe import Recipe
    from quantkit.pipeline.export import export_all
    from quantkit.pipeline.run_directory import ARTIFACTS, find_run
    from quantkit.pipeline.run_files import load_calibration, run_config, stored_config, write_config
    from quantkit.pipeline.writing import writing_artifacts, writing_results

    progress = configure(verbose, quiet)
    folder = find_run(run)
    settings = with_environment(run_config(folder)).with_values("export", tensorrt=tensorrt)
    settings = settings.with_values("openvino", placement=placement or None)
    destination = output if output is not None else folder / ARTIFACTS
    calibration = load_calibration(folder)
    with writing_artifacts(calibration, destination):
        artifacts = export_all(settings, Recipe.of(calibration), destination, progress, target, precision)
        if embed_preprocessing:
            embed(artifacts, calibration)
    if tensorrt is not None or placement:  # for build and compare
        with writing_results(calibration):
            remembered = stored_config(folder).with_values("export", tensorrt=tensorrt)
            write_config(folder, remembered.with_values("openvino", placement=placement or None))
    if as_json:
        print_json(ExportDocument(artifacts=artifact_entries(artifacts, commands_of(artifacts, destination))))
        return
    print_artifacts(artifacts)
    for commands in commands_of(artifacts, destination).values():
        log.info("How to run and serve them: %s", commands)


def embed(artifacts: Sequence[Artifact], calibration: Calibration) -> None:
    """Write each IR of ``artifacts`` once more, with the preprocessing inside."""
    from quantkit.cli.console import log
    from quantkit.core.errors import BadConfig
    from quantkit.core.preprocess import Preprocess
    from quantkit.pipeline.artifact_files import further_files
    from quantkit.pipeline.export import calibrated_model
    from quantkit.targets.openvino.embedded import EMBEDDED_FILE, embed_preprocessing

    own, inputs = calibration.preprocess, calibrated_model(calibration).inputs
    models = [artifact for artifact in artifacts if artifact.target == "openvino"]
    if not isinstance(own, Preprocess) or own.size is None or len(inputs) != 1:
        raise BadConfig("The run was not calibrated on images.", "Leave --embed-preprocessing out.")
    if not models:
        raise BadConfig("Only OpenVINO's IR can hold preprocessing.", "Add --target openvino.")
    for artifact in models:
        beside = artifact.path.parent
        with further_files(beside) as folder:
            takes = embed_preprocessing(artifact.path, own, inputs[0].name, folder)
        log.info("%s %s.", beside / EMBEDDED_FILE, takes)


def commands_of(artifacts: Sequence[Artifact], output: Path) -> dict[str, Path]:
    """Return the file with the commands of each target that has one."""
    from quantkit.pipeline.handoff import COMMANDS_FILE

    places = {artifact.target: output / artifact.target / COMMANDS_FILE for artifact in artifacts}
    return {target: place for target, place in places.items() if place.is_file()}


def print_artifacts(artifacts: Sequence[Artifact]) -> None:
    """Print a line for each artifact: the file to load, and the names of the files beside it.

    A narrow terminal shows the end of its path, from ``artifacts/`` on.
    """
    from quantkit.cli.tables import print_table

    rows, short = [], []
    for a in artifacts:
        own = [a.target, a.precision, f"{a.size_bytes / 1e6:.3g}"]
        rows.append([*own, " + ".join([str(a.path), *(f.name for f in a.files[1:])])])
        inside = a.path.parent.name == a.precision  # not so the FP32 model, which is the user's own
        place = Path(*a.path.parts[-4:]) if inside else Path(a.path.name)
        short.append([*own, f"{place} + {len(a.files) - 1} more" if len(a.files) > 1 else f"{place}"])
    print_table(["target", "precision", "MB", "files"], rows, left=2, short=short)
