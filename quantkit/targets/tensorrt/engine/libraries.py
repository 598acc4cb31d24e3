"""TensorRT's libraries, TensorRT itself and TensorRT for RTX: their availability, version and messages."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from quantkit.core.cuda import NO_GPU, device_count, driver_is_here, runtime
from quantkit.core.errors import BackendMissing
from quantkit.core.releases import Release, release_of
from quantkit.targets.base import Availability

log = logging.getLogger("quantkit")
NO_CUDA = "CUDA initialization failure"
OLD_DRIVER = "driver version is insufficient"  # CUDA's words for a driver that is too old, or missing
KEPT_MESSAGES = 20  # the number of TensorRT's last error messages to keep, which explain a failure


@dataclass(frozen=True)
class Library:
    """A library of TensorRT's.

    Attributes:
        title: Its name for people.
        modules: The modules that may hold it, the first that is installed counts.
        package: The package that brings it.
        requirements: What pip installs to run engines here.
        oldest: The oldest release that quantkit drives.
        beyond: The first major release that it does not.
        generation: The release of TensorRT whose interface it has; None for its own.
        ahead: True if it builds for GPUs that are not here, without any, and times nothing.
    """

    title: str
    modules: tuple[str, ...]
    package: str
    requirements: str
    oldest: Release
    beyond: int
    generation: Release | None = None
    ahead: bool = False

    def install_command(self) -> str:
        """Return the command that installs the library for this Python."""
        return f"python{sys.version_info.major}.{sys.version_info.minor} -m pip install {self.requirements}"

    def is_installed(self) -> bool:
        """True if a module of the library can be found."""
        return any(find_spec(module) is not None for module in self.modules)

    def builds(self) -> Availability:
        """Tell if the library itself is here, in a version that quantkit supports."""
        if os.name == "nt":  # a builder's process inherits a pipe as only POSIX hands one on
            reason = f"quantkit drives {self.title} on Linux only"
            return Availability(False, reason=reason, hint="Run the commands of COMMANDS.md beside the artifacts.")
        hint = self.install_command()
        if not self.is_installed():
            return Availability(False, reason=f"the package {self.package} is not installed", hint=hint)
        try:
            found = self.version()
        except (ImportError, OSError, AttributeError, RuntimeError) as error:
            return Availability(False, reason=f"{self.title} does not import ({error})", hint=hint)
        if not self.oldest <= release_of(found) < (self.beyond,):
            return Availability(False, found, f"{self.title} {found} is not one that quantkit drives", hint)
        return Availability(True, found)

    def availability(self) -> Availability:
        """Tell if engines can be run here, which takes the library, CUDA's bindings and a GPU."""
        state = self.builds()
        if not driver_is_here() and os.name != "nt":
            if not self.is_installed():
                reason = f"there is no NVIDIA GPU here, and the package {self.package} is not installed"
                return Availability(False, reason=reason, hint=self._without_gpu())
            if state.works:
                return Availability(False, state.version, NO_GPU, "Check it with nvidia-smi.")
        if not state.works:
            return state
        if find_spec("cuda") is None:
            reason = "the package cuda-bindings is not installed"
            return Availability(False, state.version, reason, self.install_command())
        try:
            runtime()
        except (ImportError, OSError, AttributeError, RuntimeError) as error:
            reason = f"cuda-bindings does not import ({error})"
            return Availability(False, state.version, reason, self.install_command())
        if not device_count():
            return Availability(False, state.version, NO_GPU, "Check it with nvidia-smi.")
        return state

    def _without_gpu(self) -> str:
        """Say what to do where there is neither a GPU nor the library."""
        command = self.install_command()
        if self.ahead:
            return f"Measure where an RTX GPU is. To build engines here, which needs none, run: {command}"
        rtx = " For RTX GPUs, the target tensorrt-rtx builds engines without one." * (sys.platform == "linux")
        return f"Use a machine that has a GPU, and run there: {command}.{rtx}"

    def require(self) -> None:
        """Raise BackendMissing, with a hint, if engines cannot be built and run."""
        self._demand(self.availability())

    def require_builder(self) -> None:
        """Raise BackendMissing, with a hint, if the library itself is missing."""
        self._demand(self.builds())

    def _demand(self, state: Availability) -> None:
        if not state.works:
            hint = f"Run: {state.hint}" if state.hint == self.install_command() else state.hint
            raise BackendMissing(f"{self.title} cannot be used here: {state.reason}.", hint)

    def tensorrt(self) -> Any:
        """Import the library's module."""
        return _imported(next((name for name in self.modules if find_spec(name) is not None), self.modules[0]))

    def version(self) -> str:
        """Return the library's version, such as "8.6.0"."""
        return str(self.tensorrt().__version__)

    def interface(self) -> Release:
        """Return the release of TensorRT, as (major, minor), whose interface the library has."""
        return self.generation or release_of(self.version())

    def messages(self) -> Any:
        """Return TensorRT's logger, one for the process, which keeps the last errors and logs all messages for -vv."""
        return _messages(self)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Run a block that makes a Builder or Runtime.

        If TensorRT cannot start CUDA, its bindings get a null pointer there. A driver that is too old for this TensorRT
        shows here first.

        Raises:
            BackendMissing: TensorRT cannot start CUDA.
        """
        self.messages().kept.clear()
        try:
            yield
        except TypeError as error:
            raise BackendMissing(
                f"{self.title} does not start on this GPU ({self.last_error() or error}).",
                "Check with nvidia-smi that the driver is new enough for this TensorRT, and that memory is free.",
            ) from error

    def last_error(self) -> str:
        """Return the last error of TensorRT in one line; empty if there was none."""
        kept = self.messages().kept
        return " ".join(kept[-1].split())[:400] if kept else ""


TENSORRT = Library(
    title="TensorRT",
    modules=("tensorrt",),
    package="tensorrt",
    requirements="'tensorrt>=8.6,<12' 'cuda-bindings>=12.6' nvidia-ml-py",
    oldest=(8, 6),
    beyond=12,
)
RTX = Library(
    title="TensorRT for RTX",
    modules=("tensorrt_rtx", "tensorrt_rtx_bindings"),  # the whole package, and the bindings alone
    package="tensorrt-rtx-cu13-bindings",
    requirements="'quantkit-int8[tensorrt-rtx]'",
    oldest=(1, 7),
    beyond=2,
    generation=(11, 0),
    ahead=True,
)


@cache
def _imported(module: str) -> Any:
    return importlib.import_module(module)


@cache
def _messages(library: Library) -> Any:
    trt = library.tensorrt()

    class Messages(trt.ILogger):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.kept: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            # To TensorRT, a failure to start CUDA is only a warning.
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR) or message.startswith(NO_CUDA):
                self.kept = [*self.kept[-KEPT_MESSAGES + 1 :], message]
            if severity != trt.ILogger.VERBOSE:
                log.debug("%s: %s", library.title, message)

    return Messages()
