"""``quantkit gate``."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantkit.cli.options import Force, Json, NoThumbnails, Quiet, Run, Verbose, Wide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantkit.core.calibration import Calibration
    from quantkit.core.comparison import Comparison
    from quantkit.gates import GateResult, Rule


Baseline = Annotated[
    Path | None,
    typer.Option("--baseline", envvar="QUANTKIT_BASELINE", help="Earlier run, or its comparison.json."),
]
BaselineOptional = Annotated[
    bool,
    typer.Option("--baseline-optional", help="Without a baseline, say so and skip the rules against it."),
]


def gate(
    run: Run = None,
    gates: Annotated[
        Path | None,
        typer.Option("--gates", envvar="QUANTKIT_GATES", help="TOML with \\[\\[gate]] tables; default: the run's own."),
    ] = None,
    baseline: Baseline = None,
    baseline_optional: BaselineOptional = False,
    max_drop: Annotated[
        float | None,
        typer.Option(
            "--max-drop",
            envvar="QUANTKIT_MAX_DROP",
            help="The most that INT8 may lose of the task's first metric, such as top-1: points of a share.",
        ),
    ] = None,
    min_speedup: Annotated[
        float | None,
        typer.Option("--min-speedup", envvar="QUANTKIT_MIN_SPEEDUP", help="How many times faster INT8 must be."),
    ] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option("--min-agreement", envvar="QUANTKIT_MIN_AGREEMENT", help="Least percent of equal answers."),
    ] = None,
    require_recommended: Annotated[
        bool,
        typer.Option(
            "--require-recommended",
            envvar="QUANTKIT_REQUIRE_RECOMMENDED",
            help="INT8 must be what compare recommends, on every target and batch.",
        ),
    ] = False,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", help="Write the results as JUnit XML to this file."),
    ] = None,
    init: Annotated[
        bool, typer.Option("--init", help="Write first rules from the run's figures, to --gates or stdout.")
    ] = False,
    no_thumbnails: NoThumbnails = False,
    force: Force = False,
    as_json: Json = False,
    wide: Wide = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Judge a compared run: exit 0 it passes, 1 a rule failed, 5 a rule matched nothing or there is none.

    Options stand in for the file's rules on the same metric. gate.json and the report are brought up to date; in
    GitHub Actions misses become annotations, and summary.md goes to the job's summary ($GITHUB_STEP_SUMMARY).
    """
    from quantkit.cli.console import configure
    from quantkit.config_files import load_config
    from quantkit.core.files import write_text
    from quantkit.core.overwriting import JUNIT_MARK, check_overwrite
    from quantkit.gates import gate as apply_rules
    from quantkit.pipeline.report import append_step_summary
    from quantkit.pipeline.run_directory import find_comparison
    from quantkit.pipeline.run_files import load_comparison, run_config
    from quantkit.reports.junit import junit_xml
    from quantkit.reports.markdown import markdown_summary

    configure(verbose, quiet)
    folder = find_comparison(run)
    comparison = load_comparison(folder)
    if junit is not None:
        check_overwrite(junit, JUNIT_MARK, force)
    if init:
        _write_starter(comparison, folder, gates)
        return
    rules = option_rules(comparison, max_drop, min_speedup, min_agreement, require_recommended)
    replaced = {rule.metric for rule in rules}
    configured = load_config(gates) if gates is not None else run_config(folder)
    rules = [rule for rule in configured.gate if rule.metric not in replaced] + rules
    earlier = baseline_of(baseline, rules, baseline_optional)
    result = apply_rules(comparison, rules, earlier, baseline_optional)
    if junit is not None:
        write_text(junit, junit_xml(result))
    print_gate(result, comparison, as_json)
    calibration = _update_run(folder, comparison, result, False if no_thumbnails else None)
    append_step_summary(markdown_summary(comparison, result, calibration))
    raise typer.Exit(result.exit_code)


def baseline_of(path: Path | None, rules: Sequence[Rule], optional: bool) -> Comparison | None:
    """Load the baseline. None if none is given or, where it is optional, if there is none at ``path``."""
    from quantkit.cli.console import log
    from quantkit.core.comparison import COMPARISON_FILE
    from quantkit.pipeline.run_files import load_comparison

    if path is not None and (not optional or path.is_file() or (path / COMPARISON_FILE).is_file()):
        return load_comparison(path)
    if optional and any(rule.against == "baseline" for rule in rules):
        log.warning("There is no baseline%s: rules against it are skipped.", "" if path is None else f" at {path}")
    return None


def _update_run(
    folder: Path, comparison: Comparison, result: GateResult, thumbnails: bool | None
) -> Calibration | None:
    """Write ``gate.json`` and the report if ``folder`` is a run, and return its calibration."""
    from quantkit.cli.console import log
    from quantkit.core.errors import BadInput
    from quantkit.pipeline.report import write_gate, write_report
    from quantkit.pipeline.run_directory import is_run
    from quantkit.pipeline.run_files import load_calibration
    from quantkit.pipeline.writing import SHORTLY, writing_into

    if not is_run(folder):
        return None
    calibration = None
    try:
        calibration = load_calibration(folder)
        with writing_into(folder, SHORTLY):
            write_gate(folder, comparison, result)
            write_report(folder, gate=result, calibration=calibration, thumbnails=thumbnails)
    except BadInput as error:  # the verdict is valid even if the run cannot be written
        log.warning("The report is not brought up to date: %s", error)
    return calibration


def _write_starter(comparison: Comparison, folder: Path, path: Path | None) -> None:
    from quantkit.cli.console import log, print_raw
    from quantkit.core.errors import BadConfig
    from quantkit.core.files import write_text
    from quantkit.gates.starter import starter_rules

    text, left_out = starter_rules(comparison)
    for reason in left_out:
        log.warning("%s", reason)
    if path is None:
        print_raw(text)
        return
    if path.exists():
        raise BadConfig(f"{path} is there already.", "Give another name with --gates, or none and copy the text.")
    write_text(path, text)
    command = shlex.join(["quantkit", "gate", str(folder), "--gates", str(path)])
    log.info("Wrote %s. Judge with: %s", path, command)


def option_rules(
    comparison: Comparison,
    max_drop: float | None,
    min_speedup: float | None,
    min_agreement: float | None,
    require_recommended: bool = False,
) -> list[Rule]:
    """Make rules from options.

    Args:
        comparison: The comparison to judge, whose main metric ``max_drop`` limits.
        max_drop: The most points of accuracy that INT8 may lose.
        min_speedup: How many times faster INT8 must be.
        min_agreement: The least percent of answers equal to FP32's.
        require_recommended: INT8 must be what is recommended.

    Returns:
        A rule for each option that is given.

    Raises:
        BadInput: A value makes no sense.
    """
    from pydantic import ValidationError

    from quantkit.core.errors import BadConfig
    from quantkit.gates import MOST_SENSIBLE_DROP, Rule

    main = next(iter(comparison.metrics), None) or comparison.metric(comparison.main_metric or "top1")
    if max_drop is not None and main.of_fp32:
        raise BadConfig(
            f"FP32 has no {main.title} to fall from.", 'Bound it by "metric" and "min" or "max" in --gates.'
        )
    if max_drop is not None and max_drop < 0:
        raise BadConfig(f"--max-drop {max_drop:g} is below 0.", "Give the most that INT8 may lose.")
    if max_drop is not None and main.is_share and max_drop >= 100 * MOST_SENSIBLE_DROP:
        raise BadConfig(
            f"--max-drop {max_drop:g} is not from 0 to below {100 * MOST_SENSIBLE_DROP:g} points.",
            "It is in points: 0.5 is half a point.",
        )
    if min_agreement is not None and not 0 <= min_agreement <= 100:
        raise BadConfig(f"--min-agreement {min_agreement:g} is not from 0 to 100 percent.", "98.5 is 98.5 percent.")
    if min_speedup is not None and not min_speedup > 0:
        raise BadConfig(f"--min-speedup {min_speedup:g} is not above 0.", "1.5 means half as fast again as FP32.")
    given: list[tuple[str, dict[str, Any]]] = []
    if max_drop is not None:
        given.append(("--max-drop", {"metric": f"drop.{main.name}", "max": max_drop / (100 if main.is_share else 1)}))
    if min_speedup is not None:
        given.append(("--min-speedup", {"metric": "speedup", "min": min_speedup}))
    if min_agreement is not None:
        given.append(("--min-agreement", {"metric": "agreement", "min": min_agreement / 100}))
    if require_recommended:
        given.append(("--require-recommended", {"metric": "recommended", "min": 1.0}))
    rules = []
    for option, values in given:
        try:
            rules.append(Rule(**values))
        except ValidationError as error:
            raise BadConfig(
                f"{option} makes no sense ({error.errors()[0]['msg']}).", "See quantkit gate --help."
            ) from None
    return rules


def print_gate(result: GateResult, comparison: Comparison, as_json: bool) -> None:
    """Print each rule with its measured value, limit and margin, and the verdict; annotate in GitHub Actions.

    A gate that is met by outputs that are noise is met, with a warning.

    Args:
        result: The gate's result.
        comparison: The comparison that was judged.
        as_json: Print one JSON document instead.
    """
    from quantkit.cli.console import fail, log, print_json, stdout
    from quantkit.cli.documents import GateDocument
    from quantkit.cli.tables import print_table
    from quantkit.core.errors import QuantkitError
    from quantkit.gates.document import gate_document
    from quantkit.reports.content.verdict import judge
    from quantkit.reports.wording import margin, measured, subject

    if as_json:
        print_json(GateDocument.model_validate(gate_document(result, comparison)))
    elif result.verdicts:
        rows = [
            [verdict.outcome, subject(verdict), verdict.rule.in_words(), measured(verdict), margin(verdict)]
            for verdict in result.verdicts
        ]
        print_table(["outcome", "row", "rule", "measured", "margin"], rows, left=3, spare=["margin"], folded="rule")
        for reason in dict.fromkeys(f"{v.outcome.capitalize()}: {v.reason}." for v in result.verdicts if v.reason):
            stdout.print(reason, highlight=False, markup=False)
    annotate(result, as_json)
    try:
        result.raise_for_failure()
    except QuantkitError as error:
        fail(error.what, error.hint)
    else:
        if not as_json:
            unclear = sum(verdict.outcome in ("inconclusive", "not comparable") for verdict in result.verdicts)
            stdout.print("The gate is passed." + (f" {unclear} of its checks could not be judged." if unclear else ""))
        judgement = judge(comparison, result)
        if judgement.outcome != "ship":
            log.warning("%s: %s", judgement.headline, judgement.reason)


def annotate(result: GateResult, as_json: bool) -> None:
    """Print annotations in GitHub Actions: on stdout, or on stderr if stdout holds JSON."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    from quantkit.core.escape import without_controls
    from quantkit.reports.annotations import github_annotations

    for line in github_annotations(result):
        print(without_controls(line), file=sys.stderr if as_json else sys.stdout, flush=True)
