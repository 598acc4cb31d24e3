"""``quantkit lint``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantkit.cli.options import Json, Quiet, Verbose

if TYPE_CHECKING:
    from quantkit.cli.documents import LintDocument
    from quantkit.targets.tensorrt.lint.finding import Finding

SHOWN = 8  # places of one rule; -v shows all
FOUND = 1


class Format(str, Enum):
    """How findings are written."""

    text = "text"
    sarif = "sarif"
    github = "github"


def lint(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL...", help="ONNX models with Q/DQ pairs, whichever tool placed them."),
    ],
    form: Annotated[
        Format,
        typer.Option("--format", help="text; sarif for code scanning; github for annotations in GitHub Actions."),
    ] = Format.text,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Tell which Q/DQ pairs break which of TensorRT's rules, and how to fix it.

    Exit 0: nothing of severity error. 1: TensorRT would refuse a model, or compute something else. 2: one cannot be
    read, or holds no pair. -v names every place.
    """
    from quantkit.cli.console import configure, print_json, print_raw
    from quantkit.core.errors import BadConfig
    from quantkit.reports.sarif import sarif
    from quantkit.targets.tensorrt.lint import lint_file

    configure(verbose, quiet)
    if as_json and (form is not Format.text or len(models) > 1):
        raise BadConfig("--json is the document of one model.", "Leave it out for --format, or lint one by one.")
    findings = {model: lint_file(model) for model in models}
    if as_json:
        print_json(_document(models[0], findings[models[0]]))
    elif form is Format.sarif:
        print_raw(json.dumps(sarif(findings), indent=1))
    elif form is Format.github:
        _annotate(findings)
    else:
        for model, found in findings.items():
            _show(found, "" if len(findings) == 1 else f"{model}: ", None if verbose else SHOWN)
    broken = any(finding.severity == "error" for found in findings.values() for finding in found)
    raise typer.Exit(FOUND if broken else 0)


def _document(model: Path, findings: list[Finding]) -> LintDocument:
    from quantkit.cli.documents import LintDocument, LintFinding

    counts = Counter(finding.severity for finding in findings)
    return LintDocument(
        model=str(model),
        errors=counts["error"],
        warnings=counts["warning"],
        notes=counts["note"],
        findings=tuple(
            LintFinding(rule=f.rule, severity=f.severity, nodes=tuple(f.nodes), what=f.what, hint=f.hint)
            for f in findings
        ),
    )


def _annotate(findings: Mapping[Path, list[Finding]]) -> None:
    """Print a workflow command for each finding; notes are notices there."""
    from quantkit.cli.console import print_raw
    from quantkit.core.escape import without_controls
    from quantkit.reports.annotations import annotation

    for model, found in findings.items():
        for f in found:
            command = "notice" if f.severity == "note" else f.severity
            line = annotation(command, f"quantkit lint: {f.rule}", f"{f.what} {f.hint}", str(model))
            print_raw(without_controls(line))


def _show(findings: list[Finding], title: str, shown: int | None) -> None:
    from quantkit.cli.console import stdout

    counts = Counter(finding.severity for finding in findings)
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
        stdout.print(
            f"{title}{_plural(counts['error'], 'error')}, {_plural(counts['warning'], 'warning')}", markup=False
        )
    else:
        stdout.print(f"{title}No pair breaks a TensorRT rule", markup=False)


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
