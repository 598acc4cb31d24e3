"""A GPU under load: clocks, power and temperature through NVML (``nvidia-ml-py``)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any

import numpy.typing as npt

from quantkit.core.comparison import GpuLoad
from quantkit.targets.session import DeviceSession

LOAD_SECONDS = 1.0  # NVML averages power over some tenths of a second
SAMPLES_PER_SECOND = 20


def under_load(session: DeviceSession, inputs: Mapping[str, npt.NDArray[Any]], milliseconds: float) -> GpuLoad:
    """Run ``session`` without pause for a second and monitor its GPU meanwhile.

    Args:
        session: The loaded model.
        inputs: One batch of inputs by name.
        milliseconds: The duration of one inference.

    Returns:
        The load; values that NVML does not report are None, and so are all if NVML is not installed.
    """
    repeats = max(10, round(LOAD_SECONDS * 1e3 / 3 / max(milliseconds, 1e-3)))
    with _Watch(session.bus) as watch:
        session.device_times(inputs, repeats)
    return GpuLoad(
        memory_bytes=session.memory_bytes,
        sm_clock_mhz=watch.highest("sm"),
        memory_clock_mhz=watch.highest("memory"),
        power_w=round(fmean(power), 1) if (power := watch.last_half("power")) else None,
        temperature_c=watch.highest("temperature"),
    )


def driver() -> str:
    """Return the version of the NVIDIA driver, such as "580.159.04"; empty if NVML does not report it."""
    try:
        import pynvml

        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetDriverVersion()
    except Exception:  # noqa: BLE001 - not installed, no driver or no permission; measurements do not need it
        return ""
    return version.decode() if isinstance(version, bytes) else str(version)


def energy_joules(bus: str) -> float | None:
    """Return the energy that a GPU has taken since its driver was loaded; None if NVML does not report it.

    Args:
        bus: Its PCI address, such as "0000:65:00.0".
    """
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByPciBusId(bus.encode())
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3
    except Exception:  # noqa: BLE001 - see driver()
        return None


class _Watch:
    """Samples one GPU in a thread while the ``with`` block runs."""

    def __init__(self, bus: str) -> None:
        self._seen: dict[str, list[float]] = {"sm": [], "memory": [], "power": [], "temperature": []}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, args=(bus,), daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def highest(self, what: str) -> int | None:
        """Return the highest sample."""
        return round(max(self._seen[what])) if self._seen[what] else None

    def last_half(self, what: str) -> list[float]:
        """Return the second half of the samples, when the load has taken effect."""
        seen = self._seen[what]
        return seen[len(seen) // 2 :]

    def _sample(self, bus: str) -> None:
        try:
            import pynvml

            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByPciBusId(bus.encode())
        except Exception:  # noqa: BLE001 - see driver()
            return
        readings: dict[str, Callable[[], Any]] = {
            "sm": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
            "memory": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
            "power": lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
            "temperature": lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
        }
        while not self._over.wait(1 / SAMPLES_PER_SECOND):
            for name, read in list(readings.items()):
                try:
                    self._seen[name].append(float(read()))
                except pynvml.NVMLError:  # this GPU does not report it
                    del readings[name]
