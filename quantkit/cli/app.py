"""All verbs of the ``quantkit`` command."""

from __future__ import annotations

import typer

from quantkit.cli.build import build
from quantkit.cli.calibrate import calibrate
from quantkit.cli.check import check
from quantkit.cli.compare import compare
from quantkit.cli.convert import convert
from quantkit.cli.demo import demo
from quantkit.cli.doctor import doctor
from quantkit.cli.export import export
from quantkit.cli.gate import gate
from quantkit.cli.history import history
from quantkit.cli.inspect import inspect
from quantkit.cli.lint import lint
from quantkit.cli.merge import merge
from quantkit.cli.report import report
from quantkit.cli.run import run
from quantkit.cli.sensitivity import sensitivity
from quantkit.cli.tune import tune
from quantkit.version import __version__

app = typer.Typer(
    name="quantkit",
    help="Calibrate an ONNX model, export INT8 for TensorRT, OpenVINO and ONNX Runtime, and prove that it may ship.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
VERBS = (
    check,
    calibrate,
    merge,
    export,
    build,
    convert,
    compare,
    report,
    history,
    gate,
    run,
    sensitivity,
    tune,
    inspect,
    lint,
    doctor,
    demo,
)
for verb in VERBS:
    app.command()(verb)


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(f"quantkit {__version__}")
        raise typer.Exit
