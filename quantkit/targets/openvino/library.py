"""Imports the openvino and nncf packages when they are used: tested releases, without telemetry or output."""

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

# The first tested release and the first untested one. openvino's API is public; the parts of nncf that
# nncf/adapter.py uses are not.
OPENVINO: tuple[Release, Release] = ((2025, 0), (2026, 5))
NNCF: tuple[Release, Release] = ((3, 0), (3, 5))


def pip_command(*packages: str) -> str:
    """Return the command that installs tested releases of the packages."""
    bounds = {"openvino": OPENVINO, "nncf": NNCF}
    return "pip install " + " ".join(
        f"'{name}>={_text(bounds[name][0])},<{_text(bounds[name][1])}'" for name in packages
    )


@cache
def availability() -> Availability:
    """Return the availability of openvino, which must be installed, of a tested release, and importable."""
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
    """Return the availability of a tested release of nncf. It is not imported, because that takes a second."""
    return _missing("nncf", NNCF) or Availability(True, version("nncf"))


def require_openvino() -> None:
    """Raise BackendMissing if openvino cannot be used."""
    _require("OpenVINO", availability())


def require_nncf() -> None:
    """Raise BackendMissing if nncf cannot be used."""
    _require("NNCF", nncf_availability())


@cache
def openvino() -> Any:
    """Import the openvino package without its telemetry package, which would report the import to its maker."""
    with _absent("openvino_telemetry"):
        import openvino as package

    return package


@cache
def core() -> Any:
    """Return the only ``openvino.Core`` of this process."""
    return openvino().Core()


@cache
def nncf() -> Any:
    """Import the nncf package without the telemetry and the output to stdout of its import.

    Raises:
        BackendMissing: nncf cannot be imported.
    """
    os.environ.setdefault("NNCF_CI", "1")  # nncf's switch for its telemetry
    try:
        with contextlib.redirect_stdout(sys.stderr):
            import nncf as package
    except (ImportError, OSError, AttributeError) as error:
        raise BackendMissing(
            f"nncf {version('nncf')} does not import with openvino {version('openvino')} ({error}).",
            f"Run: {pip_command('openvino', 'nncf')}, or use the placement qdq.",
        ) from error
    # nncf's own set_log_level would also silence handlers that others added to its logger, for other messages, too.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return package


@contextlib.contextmanager
def _absent(name: str) -> Iterator[None]:
    """Make imports of a package fail as if it were not installed, unless it is already imported."""
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
