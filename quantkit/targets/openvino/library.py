"""The openvino and nncf packages: imported when used, without telemetry or output, of releases that were tested."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from quantkit.core.errors import BackendMissing
from quantkit.core.releases import Release, release_of
from quantkit.targets.base import Availability

# First tested, and the first that is not: openvino's API is public, nncf's own parts that nncf_adapter.py uses are not.
OPENVINO: tuple[Release, Release] = ((2025, 0), (2026, 5))
NNCF: tuple[Release, Release] = ((3, 0), (3, 5))


def pip_command(*packages: str) -> str:
    """How to install what was tested."""
    bounds = {"openvino": OPENVINO, "nncf": NNCF}
    return "pip install " + " ".join(
        f"'{name}>={_text(bounds[name][0])},<{_text(bounds[name][1])}'" for name in packages
    )


@cache
def availability() -> Availability:
    """True if openvino is here, is of a tested release and imports."""
    missing = _missing("openvino", OPENVINO)
    if missing is not None:
        return missing
    try:
        return Availability(True, openvino().__version__.split("-")[0])
    except (ImportError, OSError, AttributeError) as error:
        return Availability(
            False, reason=f"the package openvino does not import ({error})", hint=f"Run: {pip_command('openvino')}"
        )


@cache
def nncf_availability() -> Availability:
    """True if nncf is here and of a tested release; it is not imported, which takes a second."""
    return _missing("nncf", NNCF) or Availability(True, version("nncf"))


def require_openvino() -> None:
    """Raise BackendMissing where openvino cannot be used."""
    _require("OpenVINO", availability())


def require_nncf() -> None:
    """Raise BackendMissing where nncf cannot be used."""
    _require("NNCF", nncf_availability())


@cache
def openvino() -> Any:
    """The openvino package, which reports to its maker that it was imported where it finds its telemetry package."""
    with _absent("openvino_telemetry"):
        import openvino as package

    return package


@cache
def core() -> Any:
    """The one ``openvino.Core`` of this process."""
    return openvino().Core()


@cache
def nncf() -> Any:
    """The nncf package, which would write to stdout and report its use when it is imported. Raises BackendMissing."""
    os.environ.setdefault("NNCF_CI", "1")  # the switch that it offers for its telemetry
    try:
        with contextlib.redirect_stdout(sys.stderr):
            import nncf as package
    except (ImportError, OSError, AttributeError) as error:
        raise BackendMissing(
            f"nncf {version('nncf')} does not import with openvino {version('openvino')} ({error}).",
            f"Run: {pip_command('openvino', 'nncf')}, or use --placement qdq.",
        ) from error
    # Its own set_log_level would silence every handler that others gave its logger, for what else they handle, too.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return package


@contextlib.contextmanager
def _absent(name: str) -> Iterator[None]:
    """Lets imports of a package fail as if it were not installed, unless it is imported already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


def _missing(name: str, tested: tuple[Release, Release]) -> Availability | None:
    hint = f"Run: {pip_command(name)}"
    try:
        found = version(name)
    except PackageNotFoundError:
        return Availability(False, reason=f"the package {name} is not installed", hint=hint)
    if find_spec(name) is None:
        return Availability(False, reason=f"the package {name} is not installed", hint=hint)
    if not tested[0] <= release_of(found) < tested[1]:
        reason = f"{name} {found} is untested; tested are {_text(tested[0])} to before {_text(tested[1])}"
        return Availability(False, reason=reason, hint=hint)
    return None


def _require(what: str, state: Availability) -> None:
    if not state.works:
        raise BackendMissing(f"{what} cannot be used: {state.reason}.", f"{state.hint}")


def _text(release: Release) -> str:
    return ".".join(map(str, release))
