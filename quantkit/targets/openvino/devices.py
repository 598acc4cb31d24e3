"""OpenVINO's devices: their names, the ones that are present, and their configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quantkit.core.errors import BackendMissing
from quantkit.targets.openvino import library
from quantkit.targets.openvino.settings import OpenVinoSettings

AUTO = "AUTO"  # OpenVINO chooses among the devices that are present


def present() -> tuple[str, ...]:
    """Return the devices that OpenVINO finds: CPU first, then others, such as GPU.0."""
    return tuple(sorted(library.core().available_devices, key=lambda device: device != "CPU"))


def require(device: str) -> None:
    """Raise BackendMissing if a device is absent.

    Args:
        device: A name, or AUTO, which may be followed by ``:`` and names.
    """
    here = present()
    family, _, list_of = device.partition(":")
    names = list_of.split(",") if family == AUTO and list_of else [] if family == AUTO else [device]
    for name in names:
        if name not in here and name not in {found.split(".")[0] for found in here}:
            raise BackendMissing(
                f"OpenVINO has no device {name!r} here.",
                f"Use one of these devices: {', '.join((*here, AUTO))}. A GPU or NPU needs Intel's driver for it.",
            )


def configuration(device: str, precision: str, settings: OpenVinoSettings, cache: Path | None) -> dict[str, Any]:
    """Return the configuration for ``compile_model``.

    FP32 is requested explicitly, because a CPU with bf16 units would otherwise use them silently. The layers of an INT8
    model that are not INT8 run in f32 on the CPU and in f16 elsewhere.

    Args:
        device: The device.
        precision: The precision of the artifact.
        settings: The settings. Threads and their pinning are configured only if they are set.
        cache: The folder for compiled models; None means no cache.
    """
    cpu = device.startswith("CPU")
    half = precision != "fp32" and not cpu and not device.startswith(AUTO)
    found: dict[str, Any] = {
        "PERFORMANCE_HINT": settings.hint.upper(),
        "INFERENCE_PRECISION_HINT": "f16" if half else "f32",
    }
    if settings.threads is not None and cpu:
        found["INFERENCE_NUM_THREADS"] = settings.threads
    if settings.pinning is not None and cpu:
        found["ENABLE_CPU_PINNING"] = settings.pinning
    if cache is not None:
        found["CACHE_DIR"] = str(cache)
    return found


def runtime_of(compiled: Any, shapes: str) -> dict[str, str]:
    """Return how a compiled model runs, as it reports itself.

    Args:
        compiled: The compiled model.
        shapes: "fixed" or "dynamic".

    Returns:
        The shapes, hint, threads, streams, pinning, number of requests and chosen devices.
    """
    found = {"shapes": shapes}
    for name, prop in (
        ("hint", "PERFORMANCE_HINT"),
        ("threads", "INFERENCE_NUM_THREADS"),
        ("streams", "NUM_STREAMS"),
        ("pinning", "ENABLE_CPU_PINNING"),
        ("requests", "OPTIMAL_NUMBER_OF_INFER_REQUESTS"),
        ("devices", "EXECUTION_DEVICES"),
    ):
        try:
            value = compiled.get_property(prop)
        except RuntimeError:  # not a property of this device
            continue
        found[name] = _text(value)
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (Sequence, Mapping)) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return str(getattr(value, "name", value)).lower() if not isinstance(value, int) else str(value)
