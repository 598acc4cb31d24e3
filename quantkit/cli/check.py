"""``quantkit check``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantkit.cli.options import Json, Quiet, Targets, Verbose, Wide

if TYPE_CHECKING:
    from quantkit.cli.documents import CheckDocument
    from quantkit.targets.parsing import Parsing

REFUSED = 1
SHOWN = 5  # nodes of one fault; -v shows all


def check(
    model: Annotated[Path, typer.Argument(help="An ONNX model, as you would calibrate it or quantized.")],
    target: Targets = None,
    tensorrt: Annotated[
        str | None,
        typer.Option("--tensorrt", envvar="QUANTKIT_TENSORRT", help="Version that will read it, such as 8.6 or 10.3."),
    ] = None,
    as_json: Json = False,
    wide: Wide = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Tell which operators, nodes and opsets each target's own parser refuses, before any work.

    Exit 0: every parser that is installed takes the model. 1: one refuses it. 2: it cannot be read. -v names all nodes.
    """
    from quantkit.cli.console import configure, print_json
    from quantkit.config import Config
    from quantkit.pipeline.check import check_model
    from quantkit.targets import all_targets, targets_named

    progress = configure(verbose, quiet)
    settings = Config().with_values("export", tensorrt=tensorrt).target_settings()
    chosen = targets_named(target, settings) if target else list(all_targets(settings).values())
    found = check_model(model, chosen, progress)
    refused = [name for name, parsings in found.items() if any(parsing.faults for parsing in parsings)]
    if as_json:
        print_json(_document(model, refused, found))
    else:
        _show(found, None if verbose else SHOWN)
    raise typer.Exit(REFUSED if refused else 0)


def _document(model: Path, refused: Sequence[str], found: Mapping[str, Sequence[Parsing]]) -> CheckDocument:
    from quantkit.cli.documents import CheckDocument, Fault, Parsed

    targets = {
        name: tuple(
            Parsed(
                parser=own.parser,
                checked=not own.unchecked,
                faults=tuple(
                    Fault(operator=f.operator or None, nodes=tuple(f.nodes), what=f.what, hint=f.hint)
                    for f in own.faults
                ),
                reason=own.unchecked,
                hint=own.hint,
            )
            for own in parsings
        )
        for name, parsings in found.items()
    }
    return CheckDocument(model=str(model), refused_by=tuple(refused), targets=targets)


def _show(found: Mapping[str, Sequence[Parsing]], shown: int | None) -> None:
    from quantkit.cli.console import stdout
    from quantkit.cli.tables import print_table

    every = [(name, own) for name, parsings in found.items() for own in parsings]
    rows = [
        [name, own.parser, "unchecked" if own.unchecked else "refuses" if own.faults else "takes it", _operators(own)]
        for name, own in every
    ]
    print_table(["target", "parser", "", "operators"], rows, left=5)
    for name, own in every:
        for fault in own.faults:
            stdout.print(f"\n{name}: {fault.what}", markup=False)
            if fault.nodes:
                more = (
                    "" if shown is None or len(fault.nodes) <= shown else f" and {len(fault.nodes) - shown} more (-v)"
                )
                stdout.print(f"  Nodes: {', '.join(fault.nodes[:shown])}{more}", markup=False)
            stdout.print(f"  Hint: {fault.hint}", markup=False)
        if own.unchecked:
            stdout.print(f"\n{name}: unchecked by {own.parser}, because {own.unchecked}. {own.hint}", markup=False)


def _operators(own: Parsing) -> str:
    return ", ".join(dict.fromkeys(fault.operator for fault in own.faults if fault.operator))
