"""What other packages install for quantkit, found by their entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any

from quantkit.core.errors import BadConfig

ONNXRUNTIME = "onnxruntime"  # onnxruntime-gpu holds the same module


def installed(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name; nothing is imported yet."""
    return {point.name: point for point in entry_points(group=group)}


def loaded(point: EntryPoint, kind: str, make: bool = False) -> Any:
    """Import what an entry point names.

    Args:
        point: The entry point.
        kind: What errors call it, such as "target".
        make: Call it without arguments, to make an object of a class.

    Returns:
        The object.

    Raises:
        BadConfig: It cannot be imported or made.
    """
    try:
        found = point.load()
        return found() if make else found
    except Exception as error:
        raise BadConfig(
            f"The {kind} {point.name!r} ({point.value}) does not load: {error}.", "Fix or uninstall its package."
        ) from error


def package_version(name: str) -> str:
    """Return the version of an installed package; of onnxruntime, whichever of its packages it is."""
    try:
        return version(name)
    except PackageNotFoundError:
        if name != ONNXRUNTIME:
            raise
        from onnxruntime import __version__

        return str(__version__)
