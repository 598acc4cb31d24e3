"""``quantkit convert``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantkit.cli.options import Force, Json, Quiet, Verbose

if TYPE_CHECKING:
    from quantkit.cli.documents import ConvertDocument
    from quantkit.pipeline.conversion.stage import Conversion


def convert(
    source: Annotated[
        Path,
        typer.Argument(help="A calibration cache, name:amax lines, onnxruntime's TensorsData, a run or a Q/DQ model."),
    ],
    to: Annotated[str, typer.Option("--to", help="qdq, ranges, cache, json (a run directory) or tensors-data.")],
    model: Annotated[
        Path | None,
        typer.Option("--model", help="The floating-point ONNX model; qdq and json need it, all are checked with it."),
    ] = None,
    tensorrt: Annotated[
        str | None,
        typer.Option("--tensorrt", envvar="QUANTKIT_TENSORRT", help="Version in a cache \\[the source's, or 8.6.0]."),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option("--algorithm", help="entropy or minmax in a cache \\[the source's, or entropy]."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File to write, a folder for json; default: text goes to stdout."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Turn TensorRT caches, dynamic ranges, TensorsData and Q/DQ models into one another."""
    from quantkit.cli.console import configure, log, print_json, print_raw
    from quantkit.core.errors import BadConfig
    from quantkit.core.escape import visible
    from quantkit.pipeline.conversion.stage import convert as run_conversion

    configure(verbose, quiet)
    to_stdout = output is None or str(output) == "-"
    if to_stdout and as_json and to not in ("qdq", "json"):
        raise BadConfig("--json and the converted text cannot both go to stdout.", "Give a file with -o.")
    done = run_conversion(source, to, model, None if to_stdout else output, tensorrt, algorithm, force)
    _summarize(done, source, verbose > 0)
    for note in done.notes:
        log.warning("%s", note)
    if as_json:
        print_json(_document(done, source, to))
        return
    if to_stdout:
        if sys.stdout.isatty():
            print_raw(visible(done.text.rstrip("\n")))
        else:
            sys.stdout.buffer.write(done.text.encode())
    else:
        log.info("Wrote %s.", output)


def _document(done: Conversion, source: Path, to: str) -> ConvertDocument:
    from quantkit.cli.documents import ConvertDocument, MatchedModel

    names = ("missing", "fused", "parsers_own", "constants", "foreign")
    model = None
    if done.match is not None:
        lists = {name: tuple(getattr(done.match, name)) for name in names}
        model = MatchedModel(tensors=len(done.match.tensors), **lists)
    return ConvertDocument(
        source=str(source),
        form=done.imported.form,
        header=done.imported.header or None,
        to=to,
        output=str(done.output),
        ranges=len(done.ranges),
        notes=tuple(done.notes),
        model=model,
    )


def _summarize(done: Conversion, source: Path, in_full: bool) -> None:
    """Log the number of ranges, and the names that only the source or only the model has."""
    from quantkit.cli.console import log
    from quantkit.core.wording import some

    header = f", {done.imported.header}" if done.imported.header else ""
    log.info("%s (%s%s): %d ranges.", source, done.imported.form, header, len(done.imported.ranges))
    if done.match is None:
        return
    tensors = len(done.match.tensors)
    have = tensors - len(done.match.missing)
    log.info("Of the model's %d float tensors %d have a range.", tensors, have)
    lists = (
        ("No range, so that layers which compute them may stay in floating point, for", done.match.missing, True),
        ("Not in the model", done.match.foreign, True),
        ("Made up by TensorRT's parser", done.match.parsers_own, False),
        ("No float activations of the model", done.match.constants, False),
    )
    for what, names, matters in lists:
        if names:
            shown = ", ".join(names) if in_full else some(names)
            (log.warning if matters else log.info)("%s: %d (%s).", what, len(names), shown)
