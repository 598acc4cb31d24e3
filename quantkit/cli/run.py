"""``quantkit run``."""

from __future__ import annotations

import typer

from quantkit.cli.gate import Baseline
from quantkit.cli.options import ConfigFile, DumpConfig, Fresh, Json, Output, Quiet, Verbose


def run(
    config: ConfigFile = None,
    output: Output = None,
    baseline: Baseline = None,
    fresh: Fresh = False,
    as_json: Json = False,
    dump_config: DumpConfig = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Do all of it: calibrate, export, compare, tune if there is a \\[tune], report, gate.

    Exits as the gate does; with 1, too, if the goal of tuning is not met.
    """
    from quantkit.cli.compare import print_comparison
    from quantkit.cli.console import configure, log, print_json, print_raw
    from quantkit.cli.gate import annotate, print_gate
    from quantkit.cli.settings import base_config, with_model
    from quantkit.cli.tune import print_tuning
    from quantkit.pipeline.report import REPORT_FILE, SUMMARY_FILE, append_step_summary
    from quantkit.pipeline.run import run_all
    from quantkit.pipeline.run_files import load_comparison

    progress = configure(verbose, quiet)
    settings = with_model(base_config(config), None)
    if dump_config:
        print_raw(settings.to_toml())
        return
    earlier = None if baseline is None else load_comparison(baseline)
    outcome = run_all(settings, output, fresh, progress, earlier)
    if as_json:
        print_json(
            {
                "run": str(outcome.folder),
                "comparison": outcome.comparison.model_dump(mode="json"),
                "passed": outcome.gate.passed,
                "exit_code": outcome.exit_code,
            }
            | ({} if outcome.tuning is None else {"tuning": outcome.tuning.model_dump(mode="json")})
        )
        annotate(outcome.gate, as_json=True)
    else:
        if outcome.tuning is not None:
            print_tuning(outcome.tuning)
        print_comparison(outcome.comparison)
        print_gate(outcome.gate, outcome.comparison, as_json=False)
    append_step_summary((outcome.folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    log.info("Report: %s", outcome.folder / REPORT_FILE)
    raise typer.Exit(outcome.exit_code)
