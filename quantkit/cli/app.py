"""All verbs of the ``quantkit`` command."""

from __future__ import annotations

from typing import Any

import typer
import typer.main

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
from quantkit.cli.init import init
from quantkit.cli.inspect import inspect
from quantkit.cli.lint import lint
from quantkit.cli.merge import merge
from quantkit.cli.panels import PANEL_OF_VERB, group
from quantkit.cli.report import report
from quantkit.cli.run import run
from quantkit.cli.sensitivity import sensitivity
from quantkit.cli.tune import tune
from quantkit.version import __version__

app = typer.Typer(
    name="quantkit",
    help="Calibrate an ONNX model, export INT8 for TensorRT, OpenVINO and ONNX Runtime, and prove that it may ship.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
VERBS = (
    init,
    demo,
    doctor,
    run,
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
    sensitivity,
    tune,
    inspect,
    lint,
)
for verb in VERBS:
    app.command(rich_help_panel=PANEL_OF_VERB[verb.__name__])(verb)


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "-V", "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(f"quantkit {__version__}")
        raise typer.Exit


def command() -> Any:
    """Return the command line with its options grouped, as a click command."""
    built: Any = typer.main.get_command(app)
    for verb in built.commands.values():
        group(verb)
    return built
