"""Targets, where models run: one folder for each, with its Q/DQ dialect, its settings and its sessions.

A vendor's packages are imported only inside its own target, and only when the target is used; no code outside a
target's folder depends on them.
May import ``core``, ``graph``, ``transforms``, ``qdq``, ``runtime`` and ``formats``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from quantkit.core.errors import BadConfig
from quantkit.core.extensions import installed, loaded
from quantkit.core.record import Record
from quantkit.core.wording import choice_of
from quantkit.targets.base import Availability, Target
from quantkit.targets.onnxruntime import OnnxRuntime
from quantkit.targets.openvino import OpenVino
from quantkit.targets.session import LayerOutputs, Session
from quantkit.targets.tensorrt import TensorRT, TensorRTForRTX

ENTRY_POINT_GROUP = "quantkit.targets"
TARGETS: dict[str, type[Target]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "tensorrt": TensorRT,
    "tensorrt-rtx": TensorRTForRTX,
}

TargetSettings = Mapping[str, Record | Mapping[str, Any]]
"""Settings by target: as a record, or as the keys of a table that the target validates."""


def all_targets(settings: TargetSettings | None = None) -> dict[str, Target]:
    """Return every target by name, the built-in ones first.

    Args:
        settings: Settings by target; a target without settings gets its defaults.

    Raises:
        BadConfig: A setting is wrong, there is no such target, or an installed target does not load.
    """
    given, classes = settings or {}, _classes()
    unknown = [name for name in given if name not in classes]
    if unknown:
        raise BadConfig(f"There is no target {unknown[0]!r} to be set.", choice_of(unknown[0], classes))
    return {name: _made(name, target, given.get(name)) for name, target in classes.items()}


def targets_named(names: Sequence[str], settings: TargetSettings | None = None) -> list[Target]:
    """Return the targets with these names, in order and without repetitions.

    Args:
        names: The names.
        settings: Settings by target; a target without settings gets its defaults.

    Raises:
        BadConfig: There is no such target, in which case the message lists those there are; or as in
            :func:`all_targets`.
    """
    targets = all_targets(settings)
    for name in names:
        if name not in targets:
            raise BadConfig(f"There is no target {name!r}.", choice_of(name, targets))
    return [targets[name] for name in dict.fromkeys(names)]


def _classes() -> dict[str, type[Target]]:
    """Return the built-in and the installed targets. Raises BadConfig if an installed target does not load."""
    found = installed(ENTRY_POINT_GROUP)
    return TARGETS | {name: loaded(point, "target") for name, point in found.items() if name not in TARGETS}


def _made(name: str, target: type[Target], given: Record | Mapping[str, Any] | None) -> Target:
    make: Any = target
    if given is None:
        return make(target.Settings())  # type: ignore[no-any-return]
    if isinstance(given, Record):
        return make(given)  # type: ignore[no-any-return]
    try:
        return make(target.Settings.model_validate(given))  # type: ignore[no-any-return]
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        known = ", ".join(target.Settings.model_fields) or "none"
        raise BadConfig(f"{key!r} of [targets.{name}] is wrong: {problem['msg']}.", f"Known keys: {known}.") from error


__all__ = ["Availability", "LayerOutputs", "Session", "Target", "TargetSettings", "all_targets", "targets_named"]
