"""The ``tensorrt`` package: its availability, its version and its messages."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

from quantkit.core.errors import BackendMissing
from quantkit.core.releases import release_of
from quantkit.targets.base import Availability
from quantkit.targets.tensorrt.engine import cuda

log = logging.getLogger("quantkit")
OLDEST = (8, 6)
FIRST_UNSUPPORTED = 12
PACKAGES = "'tensorrt>=8.6,<12' 'cuda-bindings>=12.6' nvidia-ml-py"
NO_CUDA = "CUDA initialization failure"
KEPT_MESSAGES = 20  # the number of TensorRT's last error messages to keep, which explain a failure


def install_command() -> str:
    """Return the command that installs TensorRT for this Python."""
    return f"python{sys.version_info.major}.{sys.version_info.minor} -m pip install {PACKAGES}"


def availability() -> Availability:
    """Tell if engines can be built and run here, with the packages, a version that quantkit supports, and a GPU."""
    for package, module in (("tensorrt", "tensorrt"), ("cuda-bindings", "cuda")):
        if find_spec(module) is None:
            return Availability(False, reason=f"the package {package} is not installed", hint=install_command())
    try:
        trt = tensorrt()
        cuda.runtime()
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        return Availability(False, reason=f"TensorRT does not import ({error})", hint=install_command())
    found: str = trt.__version__
    if not OLDEST <= release_of(found) < (FIRST_UNSUPPORTED,):
        return Availability(False, found, f"TensorRT {found} is not one that quantkit drives", install_command())
    if not cuda.device_count():
        return Availability(False, found, "there is no NVIDIA GPU, or no driver for it", "Check it with nvidia-smi.")
    return Availability(True, found)


def require() -> None:
    """Raise BackendMissing, with a hint, if engines cannot be built and run."""
    state = availability()
    if not state.works:
        hint = f"Run: {state.hint}" if state.hint == install_command() else state.hint
        raise BackendMissing(f"TensorRT cannot be used here: {state.reason}.", hint)


@cache
def tensorrt() -> Any:
    """Import the ``tensorrt`` package."""
    import tensorrt as trt

    return trt


@cache
def messages() -> Any:
    """Return TensorRT's logger, one for the process, which keeps the last errors and logs all messages for -vv."""
    trt = tensorrt()

    class Messages(trt.ILogger):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.kept: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            # To TensorRT, a failure to start CUDA is only a warning.
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR) or message.startswith(NO_CUDA):
                self.kept = [*self.kept[-KEPT_MESSAGES + 1 :], message]
            if severity != trt.ILogger.VERBOSE:
                log.debug("TensorRT: %s", message)

    return Messages()


@contextmanager
def starting() -> Iterator[None]:
    """Run a block that makes a Builder or Runtime.

    If TensorRT cannot start CUDA, its bindings get a null pointer there. A driver that is too old for this TensorRT
    shows here first.

    Raises:
        BackendMissing: TensorRT cannot start CUDA.
    """
    messages().kept.clear()
    try:
        yield
    except TypeError as error:
        raise BackendMissing(
            f"TensorRT does not start on this GPU ({last_error() or error}).",
            "Check with nvidia-smi that the driver is new enough for this TensorRT, and that memory is free.",
        ) from error


def last_error() -> str:
    """Return the last error of TensorRT in one line; empty if there was none."""
    kept = messages().kept
    return " ".join(kept[-1].split())[:400] if kept else ""
