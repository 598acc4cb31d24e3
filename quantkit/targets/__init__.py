"""Where models run: one folder a target, with its Q/DQ dialect, its settings and its sessions.

Vendor packages are imported only inside their own target, when it is used; nothing outside a target's folder knows it.
May import ``core``, ``graph``, ``transforms``, ``qdq``, ``runtime`` and ``formats``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from quantkit.core.errors import BadConfig
from quantkit.core.extensions import installed, loaded
from quantkit.core.record import Record
from quantkit.targets.base import Availability, LayerOutputs, Session, Target
from quantkit.targets.onnxruntime import OnnxRuntime
from quantkit.targets.openvino import OpenVino
from quantkit.targets.tensorrt import TensorRT

ENTRY_POINT_GROUP = "quantkit.targets"
TARGETS: dict[str, type[Target]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "tensorrt": TensorRT,
}

TargetSettings = Mapping[str, Record | Mapping[str, Any]]
"""Settings by target: as values, or as the keys of a table that the target checks itself."""


def all_targets(settings: TargetSettings | None = None) -> dict[str, Target]:
    """Every target by name, the built-in ones first; one without settings gets its defaults. Raises BadConfig."""
    given = settings or {}
    unknown = [name for name in given if name not in (classes := _classes())]
    if unknown:
        raise BadConfig(f"There is no target {unknown[0]!r} to be set.", f"Choose one of: {', '.join(classes)}.")
    return {name: _made(name, target, given.get(name)) for name, target in _classes().items()}


def targets_named(names: Sequence[str], settings: TargetSettings | None = None) -> list[Target]:
    """The targets of these names, in order, once each; BadConfig names the ones there are."""
    targets = all_targets(settings)
    for name in names:
        if name not in targets:
            raise BadConfig(f"There is no target {name!r}.", f"Choose one of: {', '.join(targets)}.")
    return [targets[name] for name in dict.fromkeys(names)]


def _classes() -> dict[str, type[Target]]:
    """Raises BadConfig for an installed target that does not load."""
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
