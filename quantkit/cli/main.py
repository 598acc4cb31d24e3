"""The ``quantkit`` command: its verbs, and how errors become exit codes."""

from __future__ import annotations

import os
import signal
import sys

import typer

from quantkit.cli.build import build
from quantkit.cli.calibrate import calibrate
from quantkit.cli.compare import compare
from quantkit.cli.convert import convert
from quantkit.cli.demo import demo
from quantkit.cli.doctor import doctor
from quantkit.cli.export import export
from quantkit.cli.gate import gate
from quantkit.cli.inspect import inspect
from quantkit.cli.lint import lint
from quantkit.cli.merge import merge
from quantkit.cli.report import report
from quantkit.cli.run import run
from quantkit.version import __version__

INTERNAL_FAILURE = 3
INTERRUPTED = 130
USAGE = 2

app = typer.Typer(
    name="quantkit",
    help="Calibrate an ONNX model, export INT8 for TensorRT, OpenVINO and ONNX Runtime, and prove that it may ship.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
VERBS = (
    calibrate,
    merge,
    export,
    build,
    convert,
    compare,
    report,
    gate,
    run,
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


def main() -> None:
    """Run the command line and exit with its code. SIGTERM ends it as Ctrl-C does: a stopped job is resumable."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    code = invoke(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is written. Freeing the model and all modules would take another tenth of a second.
    os._exit(code)


def invoke(arguments: list[str]) -> int:
    """Run one command and return its exit code. Errors are printed on stderr as two sentences."""
    from quantkit.cli.console import fail

    try:
        result = app(arguments, prog_name="quantkit", standalone_mode=False)
        sys.stdout.flush()
        if result == INTERRUPTED:  # typer turns KeyboardInterrupt into this code
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except BrokenPipeError:
        # The reader of stdout is gone (quantkit ... | head); keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, typer.Abort):
        fail("Interrupted.", "Give the same command again; a calibration goes on where it stopped.")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - every failure is reported in two sentences
        return _exit_code(error)


def _exit_code(error: Exception) -> int:
    from quantkit.cli.console import fail
    from quantkit.core.errors import QuantkitError

    if isinstance(error, QuantkitError):
        fail(error.what, error.hint, error)
        return error.exit_code
    usage = getattr(error, "format_message", None)
    if usage is not None:  # click's own usage errors
        context, what = getattr(error, "ctx", None), usage().rstrip(".")
        fail(
            what if what.endswith("?") else f"{what}.",
            f"See {context.command_path if context else 'quantkit'} --help.",
        )
        return USAGE
    if isinstance(error, OSError):
        fail(f"{error.strerror or error} ({error.filename}).", "Check the path and its permissions.", error)
        return USAGE
    fail(f"quantkit failed: {type(error).__name__}: {error}.", "Run it with -vv and report the traceback.", error)
    return INTERNAL_FAILURE
