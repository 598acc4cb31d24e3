"""``quantkit lint``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantkit.cli.options import Json, Quiet, Verbose

if TYPE_CHECKING:
    from quantkit.targets.tensorrt.lint.finding import Finding, Severity

SHOWN = 8  # places of one rule; -v shows all
FOUND = 1


def lint(
    model: Annotated[Path, typer.Argument(help="An ONNX model with Q/DQ pairs, whichever tool placed them.")],
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Tell which Q/DQ pairs break which of TensorRT's rules, and how to fix it.

    Exit 0: nothing of severity error. 1: TensorRT would refuse the model, or compute something else. 2: it cannot be
    read, or holds no pair. -v names every place.
    """
    from quantkit.cli.console import configure, print_json
    from quantkit.targets.tensorrt.lint import lint_file

    configure(verbose, quiet)
    findings = lint_file(model)
    counts = Counter(finding.severity for finding in findings)
    if as_json:
        places = [
            {"rule": f.rule, "severity": f.severity, "nodes": list(f.nodes), "what": f.what, "hint": f.hint}
            for f in findings
        ]
        summary = {f"{severity}s": counts[severity] for severity in ("error", "warning", "note")}
        print_json({"model": str(model), **summary, "findings": places})
    else:
        _show(findings, counts, None if verbose else SHOWN)
    raise typer.Exit(FOUND if counts["error"] else 0)


def _show(findings: list[Finding], counts: Mapping[Severity, int], shown: int | None) -> None:
    from quantkit.cli.console import stdout

    for rule, group in groupby(findings, lambda finding: finding.rule):
        places = list(group)
        stdout.print(f"{places[0].severity}: {rule} ({len(places)})", markup=False)
        for finding in places[:shown]:
            named = any(name in finding.what for name in finding.nodes[:1])
            place = "" if named or not finding.nodes else f"{finding.nodes[0]}: "
            stdout.print(f"  {place}{finding.what}", markup=False)
        if shown is not None and len(places) > shown:
            stdout.print(f"  ... and {len(places) - shown} more (-v)", markup=False)
        stdout.print(f"  Hint: {places[0].hint}\n", markup=False)
    if counts["error"] or counts["warning"]:
        stdout.print(f"{_plural(counts['error'], 'error')}, {_plural(counts['warning'], 'warning')}")
    else:
        stdout.print("No pair breaks a TensorRT rule")


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
