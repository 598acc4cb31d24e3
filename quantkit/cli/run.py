"""``quantkit run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantkit.cli.gate import Baseline, BaselineOptional
from quantkit.cli.options import ConfigFile, DumpConfig, Fresh, Json, Model, Output, Quiet, Verbose, Wide


def run(
    model: Model = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="What to calibrate on: folder of images, list, table of texts, .npy or .npz."),
    ] = None,
    eval_data: Annotated[
        Path | None,
        typer.Option("--eval-data", help="What to compare on; left out: \\[data] evaluation, or else --data itself."),
    ] = None,
    config: ConfigFile = None,
    output: Output = None,
    baseline: Baseline = None,
    baseline_optional: BaselineOptional = False,
    fresh: Fresh = False,
    as_json: Json = False,
    wide: Wide = False,
    dump_config: DumpConfig = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Do all of it: calibrate, export, compare, tune if there is a \\[tune], report, gate.

    Exits as the gate does, and with 1, too, if the goal of tuning is not met. With a model or --data on the command
    line, rules are not needed: without any, nothing is judged.
    """
    from quantkit.cli.compare import print_comparison
    from quantkit.cli.console import configure, log, print_json, print_raw
    from quantkit.cli.documents import RunDocument
    from quantkit.cli.gate import annotate, baseline_of, print_gate
    from quantkit.cli.settings import absolute, base_config, with_model
    from quantkit.cli.tune import print_tuning
    from quantkit.pipeline.report import REPORT_FILE, SUMMARY_FILE, append_step_summary
    from quantkit.pipeline.run import run_all

    progress = configure(verbose, quiet)
    settings = with_model(base_config(config), model)
    settings = settings.with_values("data", calibration=absolute(data), evaluation=absolute(eval_data))
    if settings.data.evaluation is None and data is not None:
        log.warning("Accuracy is measured on the calibration data itself. Hold samples back: --eval-data.")
        settings = settings.with_values("data", evaluation=absolute(data))
    judged = bool(settings.gate) or (model is None and data is None)
    if dump_config:
        print_raw(settings.to_toml())
        return
    earlier = baseline_of(baseline, settings.gate, baseline_optional)
    outcome = run_all(settings, output, fresh, progress, earlier, baseline_optional)
    code = outcome.exit_code if judged else int(outcome.tuning is not None and not outcome.tuning.met)
    if as_json:
        print_json(
            RunDocument(
                run=str(outcome.folder),
                comparison=outcome.comparison,
                passed=outcome.gate.passed if judged else None,
                exit_code=code,
                tuning=outcome.tuning,
            )
        )
        annotate(outcome.gate, as_json=True)
    else:
        if outcome.tuning is not None:
            print_tuning(outcome.tuning)
        print_comparison(outcome.comparison)
        if judged:
            print_gate(outcome.gate, outcome.comparison, as_json=False)
    append_step_summary((outcome.folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    log.info("Report: %s", outcome.folder / REPORT_FILE)
    if not judged:
        log.info("Nothing is judged, for there are no rules. First ones: quantkit gate %s --init", outcome.folder)
    raise typer.Exit(code)
