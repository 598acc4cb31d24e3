"""How the ``quantkit`` command starts and ends: streams, signals, and how results and errors become exit codes.

Nothing heavy is imported before signals are handled, so that Ctrl-C never shows a traceback.
"""

from __future__ import annotations

import errno
import os
import sys

from quantkit.cli.signals import Interruption
from quantkit.cli.streams import take_over
from quantkit.core.caches import provide_cache_folder

INTERNAL_FAILURE = 3
INTERRUPTED = 130
USAGE = 2
WHAT_PRINTS = ("inspect", "doctor", "convert")  # verbs whose result is the text, convert's unless -o names a file
# Options that make it so for every verb.
PRINTING = (
    "--help",
    "-h",
    "--version",
    "-V",
    "--schema",
    "--dump-config",
    "--init",
)


def main() -> None:
    """Run the command line and exit with its code. SIGTERM ends it as Ctrl-C does: a stopped job is resumable."""
    interruption = Interruption()
    try:
        interruption.listen()
        out = take_over()
        provide_cache_folder()
        arguments = sys.argv[1:]
        code = invoke(arguments)
        sys.stdout.flush()
        if code == 0 and out.error is not None and out.error.errno != errno.EPIPE and _text_is_the_result(arguments):
            code = _lost(out.error)
        sys.stderr.flush()
    except BaseException as error:
        if not interruption.number and not isinstance(error, KeyboardInterrupt):
            raise
        code = INTERRUPTED
    if interruption.number:
        code = interruption.exit_code
    # Everything is written. Freeing the model and all modules would take another tenth of a second.
    os._exit(code)


def invoke(arguments: list[str]) -> int:
    """Run one command and return its exit code. Errors are printed on stderr as two sentences."""
    from quantkit.core.memory import LEAST, address_space

    limit = address_space()
    if limit is not None and limit < LEAST:
        return _say(
            f"There is not enough memory for quantkit: its limit is {limit >> 20} MiB, and it needs {LEAST >> 20}.",
            "Raise the limit (ulimit -v).",
        )

    import typer

    from quantkit.cli.app import command

    try:
        result = command()(arguments, prog_name="quantkit", standalone_mode=False)
        if result == INTERRUPTED:  # typer turns KeyboardInterrupt into this code
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        hint = "Give the same command again; a calibration goes on where it stopped."
        return _failed("Interrupted.", hint, INTERRUPTED, arguments)
    except Exception as error:  # noqa: BLE001 - every failure is reported in two sentences
        return _exit_code(error, arguments)


def _exit_code(error: Exception, arguments: list[str]) -> int:
    """Report an error, and return the exit code that stands for it."""
    from quantkit.cli.console import doing
    from quantkit.core.errors import QuantkitError
    from quantkit.core.memory import is_out_of_memory, limit_was_reached
    from quantkit.core.wording import line_of

    expected = isinstance(error, (QuantkitError, OSError)) or hasattr(error, "format_message")
    if is_out_of_memory(error) or (not expected and limit_was_reached()):
        stage = doing() or " ".join(["quantkit", *arguments[:1]])
        what = f"There is not enough memory for {stage} ({line_of(error)})."
        hint = "Free some, raise its limit (ulimit -v), or use a machine with more."
        return _failed(what, hint, INTERNAL_FAILURE, arguments, error)
    if isinstance(error, QuantkitError):
        return _failed(error.what, error.hint, error.exit_code, arguments, error)
    usage = getattr(error, "format_message", None)
    if usage is not None:  # click's own usage errors
        context, what = getattr(error, "ctx", None), usage().rstrip(".")
        hint = f"See {context.command_path if context else 'quantkit'} --help."
        return _failed(what if what.endswith("?") else f"{what}.", hint, USAGE, arguments)
    if isinstance(error, OSError):
        what = f"{error.strerror or error} ({error.filename})."
        return _failed(what, "Check the path and its permissions.", USAGE, arguments, error)
    what = f"quantkit failed: {type(error).__name__}: {error}."
    return _failed(what, "Run it with -vv and report the traceback.", INTERNAL_FAILURE, arguments, error)


def _failed(what: str, hint: str, code: int, arguments: list[str], error: Exception | None = None) -> int:
    """Print an error on stderr, with --json on stdout as well, and return its exit code."""
    from quantkit.cli.console import fail, print_json

    fail(what, hint, error)
    if "--json" in arguments:
        from quantkit.cli.documents import ErrorDocument, Failure

        print_json(ErrorDocument(error=Failure(what=what, hint=hint, exit_code=code)))
    return code


def _text_is_the_result(arguments: list[str]) -> bool:
    """True if the command has no other result than what it prints: no file, and no verdict as its exit code."""
    if any(word in PRINTING for word in arguments):
        return True
    verb = next((word for word in arguments if not word.startswith("-")), "")
    writes = verb == "convert" and any(word.startswith(("-o", "--output")) for word in arguments)
    return verb in WHAT_PRINTS and not writes


def _lost(error: OSError) -> int:
    return _say(f"The output cannot be written ({error.strerror}).", "Redirect it to a file with room, or a pipe.")


def _say(what: str, hint: str) -> int:
    """Print an error without any library, and return the code of an internal failure."""
    sys.stderr.write(f"Error: {what}\n       {hint}\n")
    return INTERNAL_FAILURE
