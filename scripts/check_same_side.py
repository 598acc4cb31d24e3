"""One side of check_same.py: carries out steps with the quantkit of one checkout, in one process.

    python check_same_side.py CHECKOUT STEPS.json CORE

Works in the current folder. What the n-th step says goes to ``said/<n>-<verb>.txt``: its exit code, stdout and stderr.
Only the command line and the public API of quantkit are used, for its modules have other names in other checkouts.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import shutil
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

CRASHED = 70


class _Exit(BaseException):
    """In place of os._exit, with which ``python -m quantkit`` ends."""


def main(checkout: Path, steps: Sequence[Sequence[str]], core: int) -> None:
    """Carry out every step, whatever becomes of the others; see to it that all code comes from ``checkout``."""
    if core >= 0:
        os.sched_setaffinity(0, {core})
    # An editable install would stand in for modules that this checkout lacks.
    sys.meta_path[:] = [finder for finder in sys.meta_path if not _is_editable(finder)]
    # OpenVINO reports its import from a child process, which must not outlive a command here.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import quantkit

    _require_inside(checkout, "quantkit", quantkit.__file__)
    Path("said").mkdir()
    for number, step in enumerate(steps):
        verb, *arguments = step
        if verb == "copy":
            _copy(Path(arguments[0]), Path(arguments[1]))
        elif verb == "remove":
            shutil.rmtree(arguments[0], ignore_errors=True)
        else:
            _said(Path("said") / f"{number:02d}-{verb.removesuffix('!')}.txt", verb, arguments)
    for name, module in list(sys.modules.items()):
        if name.startswith("quantkit.") and getattr(module, "__file__", None):
            _require_inside(checkout, name, module.__file__)


def _is_editable(finder: object) -> bool:
    return str(getattr(finder, "__module__", "")).startswith("__editable__")


def _require_inside(checkout: Path, name: str, file: str | None) -> None:
    if file is None or checkout not in Path(file).resolve().parents:
        sys.exit(f"{name} comes from {file}, not from {checkout}")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.is_file():
        shutil.copyfile(source, target)


def _said(file: Path, verb: str, arguments: Sequence[str]) -> None:
    """Run one step and keep what it said; a verb that ends in "!" says what it measured, so that only its code counts.

    The first line is ``exit <code>: <command>``.
    """
    with _captured() as (stdout, stderr):
        code = _api(*arguments) if verb == "api" else _command([verb.removesuffix("!"), *arguments])
    head = f"exit {code}: quantkit {' '.join([verb, *arguments])}\n"
    measured = verb.endswith("!") and code == 0
    file.write_text(head if measured else f"{head}-- stdout\n{stdout.read_text()}-- stderr\n{stderr.read_text()}")
    for path in (stdout, stderr):
        path.unlink()


@contextlib.contextmanager
def _captured() -> Iterator[tuple[Path, Path]]:
    """Both streams go to files, with what C++ writes to them."""
    files = Path("stdout.txt").absolute(), Path("stderr.txt").absolute()
    streams = sys.stdout, sys.stderr
    kept = [os.dup(number) for number in (1, 2)]
    for number, file in enumerate(files, 1):
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
        os.close(handle)
    try:
        yield files
    finally:
        for number, (stream, handle) in enumerate(zip(streams, kept, strict=True), 1):
            stream.flush()
            os.dup2(handle, number)
            os.close(handle)


def _command(arguments: Sequence[str]) -> int:
    """``python -m quantkit`` in this process: the exit code."""

    ending, given, own = os._exit, sys.argv, os.getpid()

    def leave(code: int) -> None:
        if os.getpid() != own:
            ending(code)  # a child process
        raise _Exit(code)

    os._exit, sys.argv = leave, ["quantkit", *arguments]  # type: ignore[assignment]
    try:
        runpy.run_module("quantkit", run_name="__main__", alter_sys=True)
    except (_Exit, SystemExit) as end:
        code = end.args[0] if end.args else 0
        return code if isinstance(code, int) else 1
    except BaseException:  # noqa: BLE001 - whatever it is, the other side must do the same
        traceback.print_exc()
        return CRASHED
    finally:
        os._exit, sys.argv = ending, given
    return 0


def _api(model: str, data: str, samples: str, folder: str) -> int:
    """Calibrate in memory and export by the public functions; ranges and counts are written beside the artifacts."""
    import numpy as np

    import quantkit

    try:
        calibration = quantkit.calibrate(model, data, samples=int(samples), method="entropy-asymmetric")
        target = Path(folder)
        target.mkdir(parents=True)
        ranges = {
            name: {"low": own.low, "high": own.high, "amax": own.amax, "candidates": sorted(own.candidates)}
            for name, own in calibration.tensors.items()
        }
        (target / "ranges.json").write_text(json.dumps(ranges, indent=1))
        np.savez(target / "counts.npz", **{name: own.absolute for name, own in calibration.histograms.items()})
        for artifact in quantkit.export(calibration, target=["onnxruntime", "tensorrt"], output=target):
            print(artifact.target, artifact.precision, *(file.name for file in artifact.files), *artifact.notes)
    except quantkit.QuantkitError as error:
        print(f"{type(error).__name__}: {error}")
        return error.exit_code
    except Exception:  # noqa: BLE001 - as above
        traceback.print_exc()
        return CRASHED
    return 0


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), json.loads(Path(sys.argv[2]).read_text()), int(sys.argv[3]))
