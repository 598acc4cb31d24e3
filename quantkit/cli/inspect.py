"""``quantkit inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantkit.cli.options import Json, Quiet, Verbose, Wide

if TYPE_CHECKING:
    from quantkit.core.calibration import Calibration
    from quantkit.graph.model_file import ModelFile
    from quantkit.graph.model_io import ModelInput


def inspect(
    subject: Annotated[
        Path | None,
        typer.Argument(metavar="[MODEL|RUN]", help="An ONNX model or a run; left out: the newest under runs/."),
    ] = None,
    as_json: Json = False,
    wide: Wide = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Show what a model takes, gives and holds, or the ranges of a run."""
    from quantkit.cli.console import configure
    from quantkit.graph.model_file import open_model
    from quantkit.pipeline.run_directory import find_run
    from quantkit.pipeline.run_files import load_calibration

    configure(verbose, quiet)
    if subject is not None and not subject.is_dir():
        _show_model(open_model(subject, quantized_too=True), as_json)
    else:
        _show_run(load_calibration(find_run(subject)), as_json)


def _show_model(model: ModelFile, as_json: bool) -> None:
    from quantkit.cli.console import print_json, stdout
    from quantkit.cli.documents import ModelDocument
    from quantkit.cli.tables import print_table
    from quantkit.graph.graph import Graph, activation_names
    from quantkit.graph.summary import summarize

    summary = summarize(model)
    if as_json:
        print_json(ModelDocument.model_validate(summary.to_dict()))
        return
    ports: list[tuple[str, Any]] = [("input", i) for i in model.inputs] + [("output", o) for o in model.outputs]
    print_table(
        ["", "name", "shape", "dtype", "batch axis"],
        [[kind, port.name, " × ".join(map(str, port.shape)), port.dtype, _batch_axis(port)] for kind, port in ports],
        left=5,
    )
    stdout.print(
        f"\nopset {model.opset}, {summary.parameters:,} parameters, {model.size_bytes / 1e6:.2f} MB, "
        f"{len(activation_names(Graph(model.graph_only.graph)))} activations",
        markup=False,
    )
    stdout.print(", ".join(f"{count} {name}" for name, count in summary.operators.items()), markup=False)
    if summary.sparsity.layers:
        stdout.print(summary.sparsity.describe(), markup=False)
    if summary.rewritten:
        stdout.print(f"Rewritten on opening: {', '.join(summary.rewritten)}.", markup=False)
    for line in summary.said:
        stdout.print(line, markup=False)
    if summary.quantization is not None:
        ways = summary.quantization.ways(model.path)
        stdout.print(f"Quantized already: {summary.quantization.describe()}.", markup=False)
        stdout.print(f"To quantize it anew, give quantkit calibrate the floating-point model; {ways}.", markup=False)


def _batch_axis(port: ModelInput) -> str:
    """Return the batch axis of an input or output as people read it."""
    return "not certain" if not port.certain else "none" if port.batch_axis is None else str(port.batch_axis)


def _show_run(calibration: Calibration, as_json: bool) -> None:
    from quantkit.cli.console import print_json, stdout
    from quantkit.cli.documents import InspectRunDocument, QuantizedLayers
    from quantkit.cli.tables import print_table
    from quantkit.pipeline.artifact_record import read_artifacts
    from quantkit.pipeline.run_directory import ARTIFACTS

    assert calibration.folder is not None
    layers = [(a, a.layers) for a in read_artifacts(calibration.folder / ARTIFACTS) if a.layers is not None]
    if as_json:
        records = tuple(QuantizedLayers(target=a.target, variant=a.variant, **own.to_dict()) for a, own in layers)
        print_json(InspectRunDocument(**dict(calibration), layers=records))
        return
    rows = []
    for name, tensor in calibration.tensors.items():
        chosen = [f"{value:.5g}" for value in (tensor.amax, tensor.low, tensor.high)]
        histogram = calibration.histograms.get(name)  # imported ranges have none
        seen = ["–"] * 3
        if histogram is not None:
            seen = [f"{histogram.minimum:.5g}", f"{histogram.maximum:.5g}", f"{histogram.total:,}"]
        rows.append([name, tensor.method, *chosen, *seen])
    print_table(
        ["tensor", "method", "amax", "low", "high", "min seen", "max seen", "values"],
        rows,
        left=2,
        spare=("values", "method", "min seen", "max seen"),
    )
    stdout.print(
        f"\n{calibration.model.path}\n{calibration.samples} samples of {calibration.data.path}\n"
        f"{calibration.preprocess.describe()}",
        markup=False,
    )
    for artifact, own in layers:
        name = f"{artifact.target} ({artifact.variant})" if artifact.variant else artifact.target
        stdout.print(f"{name}: {own.describe()}", markup=False)
