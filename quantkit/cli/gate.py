"""``quantkit gate``."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from quantkit.cli.options import Json, Quiet, Run, Verbose

if TYPE_CHECKING:
    from quantkit.gates import GateResult, Rule


def gate(
    run: Run = None,
    gates: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--gates", envvar="QUANTKIT_GATES", help="TOML with [[gate]] tables; default: the run's own."),
    ] = None,
    max_drop: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--max-drop", envvar="QUANTKIT_MAX_DROP", help="Most points of top-1 that INT8 may lose."),
    ] = None,
    min_speedup: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--min-speedup", envvar="QUANTKIT_MIN_SPEEDUP", help="How many times faster INT8 must be."),
    ] = None,
    min_agreement: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--min-agreement", envvar="QUANTKIT_MIN_AGREEMENT", help="Least percent of equal answers."),
    ] = None,
    junit: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--junit", help="Write the results as JUnit XML to this file."),
    ] = None,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Judge a compared run: exit 0 it passes, 1 a rule failed, 5 a rule matched nothing or there is none.

    Options stand in for the file's rules on the same metric.
    """
    from quantkit.cli.console import configure, log
    from quantkit.config import load_config
    from quantkit.core.comparison import Comparison
    from quantkit.core.errors import BadInput
    from quantkit.core.files import write_text
    from quantkit.gates import gate as apply_rules
    from quantkit.pipeline.report import write_report
    from quantkit.pipeline.run_directory import find_comparison, is_run, run_config
    from quantkit.reports.junit import junit_xml

    configure(verbose, quiet)
    folder = find_comparison(run)
    rules = option_rules(max_drop, min_speedup, min_agreement)
    replaced = {rule.metric for rule in rules}
    configured = load_config(gates) if gates is not None else run_config(folder)
    rules = [rule for rule in configured.gate if rule.metric not in replaced] + rules
    result = apply_rules(Comparison.load(folder), rules)
    if junit is not None:
        write_text(junit, junit_xml(result))
    print_gate(result, as_json)
    if is_run(folder):
        try:
            write_report(folder, gate=result)
        except BadInput as error:  # the verdict stands, whether or not the run can be written
            log.warning("The report is not brought up to date: %s", error)
    raise typer.Exit(result.exit_code)


def option_rules(max_drop: float | None, min_speedup: float | None, min_agreement: float | None) -> list[Rule]:
    """The rules that options state, in points and percent; BadInput when one makes no sense."""
    from pydantic import ValidationError

    from quantkit.core.errors import BadInput
    from quantkit.gates import MOST_SENSIBLE_DROP, Rule

    if max_drop is not None and not 0 <= max_drop < 100 * MOST_SENSIBLE_DROP:
        raise BadInput(
            f"--max-drop {max_drop:g} is not from 0 to below {100 * MOST_SENSIBLE_DROP:g} points.",
            "It is in points of top-1: 0.5 is half a point.",
        )
    if min_agreement is not None and not 0 <= min_agreement <= 100:
        raise BadInput(f"--min-agreement {min_agreement:g} is not from 0 to 100 percent.", "98.5 is 98.5 percent.")
    given: list[tuple[str, dict[str, Any]]] = []
    if max_drop is not None:
        given.append(("--max-drop", {"metric": "drop.top1", "max": max_drop / 100}))
    if min_speedup is not None:
        given.append(("--min-speedup", {"metric": "speedup", "min": min_speedup}))
    if min_agreement is not None:
        given.append(("--min-agreement", {"metric": "agreement", "min": min_agreement / 100}))
    rules = []
    for option, values in given:
        try:
            rules.append(Rule(**values))
        except ValidationError as error:
            raise BadInput(
                f"{option} makes no sense ({error.errors()[0]['msg']}).", "See quantkit gate --help."
            ) from None
    return rules


def print_gate(result: GateResult, as_json: bool) -> None:
    """Each rule with its measured value, and the verdict."""
    from quantkit.cli.console import fail, print_json, print_table, stdout
    from quantkit.core.errors import QuantkitError

    if as_json:
        print_json(
            {
                "passed": result.passed,
                "exit_code": result.exit_code,
                "rules": [
                    {
                        **verdict.rule.model_dump(),
                        "row": [verdict.row.target, verdict.row.precision] if verdict.row else None,
                        "measured": verdict.value if verdict.value is not None and isfinite(verdict.value) else None,
                        "outcome": verdict.outcome,
                    }
                    for verdict in result.verdicts
                ],
            }
        )
    elif result.verdicts:
        rows = [
            [
                verdict.outcome,
                f"{verdict.row.target} {verdict.row.precision}"
                if verdict.row
                else f"{verdict.rule.target} {verdict.rule.precision}",
                verdict.rule.describe(),
                "–" if verdict.value is None else verdict.rule.format(verdict.value),
            ]
            for verdict in result.verdicts
        ]
        print_table(["outcome", "row", "rule", "measured"], rows, left=3)
    try:
        result.raise_for_failure()
    except QuantkitError as error:
        fail(error.what, error.mend)
    else:
        if not as_json:
            stdout.print("The gate is passed.")
