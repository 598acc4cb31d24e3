"""The compute capabilities that TensorRT for RTX builds engines for. Only its bindings have these names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from quantkit.core.errors import BadConfig
from quantkit.targets.tensorrt.engine.libraries import Library

NAME = re.compile(r"SM(\d+)(\d)")  # "SM86" is 8.6, "SM120" is 12.0
FIRST_BY_DEFAULT = (8, 0)  # where the library's own default begins; an engine that serves 7.5, too, may be slower


def known(library: Library) -> tuple[str, ...]:
    """Return the compute capabilities that a library builds for, such as "8.6", the lowest first."""
    return tuple(sorted(_members(library), key=_number))


def chosen(library: Library, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return compute capabilities to build for, the lowest first, without repetitions.

    Args:
        library: The library that builds.
        wanted: Those that the user names; without any, all that the library knows from 8.0 on.

    Raises:
        BadConfig: The library does not build for one of them.
    """
    there = known(library)
    for text in wanted:
        if text not in there:
            raise BadConfig(
                f"{library.title} {library.version()} does not build for compute capability {text!r}.",
                f"Choose from: {', '.join(there)}.",
            )
    return tuple(one for one in there if (one in wanted if wanted else _number(one) >= FIRST_BY_DEFAULT))


def set_capabilities(library: Library, config: Any, wanted: Sequence[str]) -> None:
    """Make a builder's configuration build for these compute capabilities."""
    members = _members(library)
    config.num_compute_capabilities = len(wanted)
    for index, text in enumerate(wanted):
        config.set_compute_capability(members[text], index)


def _members(library: Library) -> dict[str, Any]:
    """Return the library's own values by compute capability."""
    members: dict[str, Any] = dict(library.tensorrt().ComputeCapability.__members__)
    found = {NAME.fullmatch(name): value for name, value in members.items()}
    return {f"{match[1]}.{match[2]}": value for match, value in found.items() if match}


def _number(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)
