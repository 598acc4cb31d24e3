"""Where models run. Vendor packages are imported only inside their own target, when it is used."""

from __future__ import annotations

from collections.abc import Sequence

from quantkit.core.errors import BadInput
from quantkit.targets.base import Availability, LayerOutputs, Session, Target
from quantkit.targets.onnxruntime.target import OnnxRuntime
from quantkit.targets.openvino import OpenVino, OpenVinoSettings
from quantkit.targets.tensorrt import DEFAULT_VERSION, TensorRT


def all_targets(tensorrt_version: str = DEFAULT_VERSION, openvino: OpenVinoSettings | None = None) -> dict[str, Target]:
    """Every target by name. ``tensorrt_version`` is the one that its calibration cache is written for."""
    targets: tuple[Target, ...] = (OnnxRuntime(), OpenVino(openvino or OpenVinoSettings()), TensorRT(tensorrt_version))
    return {target.name: target for target in targets}


def targets_named(
    names: Sequence[str], tensorrt_version: str = DEFAULT_VERSION, openvino: OpenVinoSettings | None = None
) -> list[Target]:
    """The targets of these names, in order, once each; BadInput names the ones there are."""
    targets = all_targets(tensorrt_version, openvino)
    for name in names:
        if name not in targets:
            raise BadInput(f"There is no target {name!r}.", f"Choose one of: {', '.join(targets)}.")
    return [targets[name] for name in dict.fromkeys(names)]


__all__ = ["Availability", "LayerOutputs", "Session", "Target", "all_targets", "targets_named"]
