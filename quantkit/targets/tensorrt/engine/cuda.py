"""The little of the CUDA runtime that running an engine takes: memory, streams, events, graphs."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BackendMissing
from quantkit.targets.base import canonical_device

DEVICE_PREFIX = "cuda:"


def runtime() -> Any:
    """The module ``cuda.bindings.runtime``. ImportError where it is not installed."""
    from cuda.bindings import runtime as module

    return module


def checked(result: tuple[Any, ...], doing: str) -> Any:
    """What a call returned beside its status. Raises BackendMissing, in words, when the status is an error."""
    status, *values = result
    if int(status) == 0:
        return values[0] if len(values) == 1 else tuple(values)
    if status.name == "cudaErrorMemoryAllocation":
        free = runtime().cudaMemGetInfo()
        left = f", {free[1] / 2**20:.0f} MB are free" if int(free[0]) == 0 else ""
        raise BackendMissing(f"The GPU has not enough memory for {doing}{left}.", "Use a smaller batch, or free some.")
    raise BackendMissing(f"The GPU failed on {doing} ({status.name}).", "Check it with nvidia-smi.")


def device_count() -> int:
    """How many GPUs the driver shows; 0 where there is none, or no driver."""
    status, count = runtime().cudaGetDeviceCount()
    return int(count) if int(status) == 0 else 0


def select(device: str) -> int:
    """Make ``cuda:0`` and the like the current device, and give its number. Raises BackendMissing."""
    name = canonical_device(device)
    number = name.removeprefix(DEVICE_PREFIX)
    if not name.startswith(DEVICE_PREFIX) or not number.isdigit() or int(number) >= device_count():
        there = ", ".join(f"{DEVICE_PREFIX}{i}" for i in range(device_count())) or "none"
        raise BackendMissing(f"TensorRT has no device {device!r} here.", f"Use --device with one of: {there}.")
    checked(runtime().cudaSetDevice(int(number)), f"choosing {device}")
    return int(number)


def gpu_name(number: int) -> str:
    """Such as "NVIDIA H200"."""
    properties = checked(runtime().cudaGetDeviceProperties(number), "reading its properties")
    name = properties.name
    return (name.decode() if isinstance(name, bytes) else str(name)).strip("\0 ")


def compute_capability(number: int) -> str:
    """Such as "9.0"."""
    properties = checked(runtime().cudaGetDeviceProperties(number), "reading its properties")
    return f"{properties.major}.{properties.minor}"


def driver_version() -> str:
    """The newest CUDA that the driver speaks, such as "13.0"."""
    number = int(checked(runtime().cudaDriverGetVersion(), "reading the driver's version"))
    return f"{number // 1000}.{number % 1000 // 10}"


def pci_bus(number: int) -> str:
    """Where the GPU sits, such as "0000:65:00.0": what NVML knows it by."""
    name = checked(runtime().cudaDeviceGetPCIBusId(32, number), "reading its place")
    return (name.decode() if isinstance(name, bytes) else str(name)).strip("\0 ")


def free_memory() -> int:
    """Bytes free on the current device."""
    free, _ = checked(runtime().cudaMemGetInfo(), "reading its free memory")
    return int(free)


class Memory:
    """``size`` bytes on the device and as many of pinned host memory, where copies start without a detour."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.device = self._pinned = 0
        self.device = int(checked(runtime().cudaMalloc(max(size, 1)), f"{size / 2**20:.0f} MB of inputs and outputs"))
        self._pinned = int(checked(runtime().cudaMallocHost(max(size, 1)), "memory for copies"))

    def host(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """The pinned memory as an array, no copy."""
        count = int(np.prod(shape, dtype=np.int64))
        raw = (ctypes.c_uint8 * (count * np.dtype(dtype).itemsize)).from_address(self._pinned)
        array: npt.NDArray[Any] = np.frombuffer(memoryview(raw), np.dtype(dtype), count)
        return array.reshape(shape)

    def upload(self, size: int, stream: CudaStream) -> None:
        """Copy the first ``size`` bytes to the device, when the stream comes to it."""
        kind = runtime().cudaMemcpyKind.cudaMemcpyHostToDevice
        checked(runtime().cudaMemcpyAsync(self.device, self._pinned, size, kind, stream.handle), "copying inputs")

    def download(self, size: int, stream: CudaStream) -> None:
        """Copy the first ``size`` bytes back, when the stream comes to it."""
        kind = runtime().cudaMemcpyKind.cudaMemcpyDeviceToHost
        checked(runtime().cudaMemcpyAsync(self._pinned, self.device, size, kind, stream.handle), "copying outputs")

    def close(self) -> None:
        """Give both back."""
        if self.device:
            runtime().cudaFree(self.device)
        if self._pinned:
            runtime().cudaFreeHost(self._pinned)
        self.device = self._pinned = 0

    def __del__(self) -> None:
        if not sys.is_finalizing():  # the process gives all memory back then
            self.close()


class CudaStream:
    """A queue of work; ``handle`` is what TensorRT takes."""

    def __init__(self) -> None:
        self.handle = int(checked(runtime().cudaStreamCreate(), "making a stream"))

    def wait(self) -> None:
        """Until all of it is done."""
        checked(runtime().cudaStreamSynchronize(self.handle), "running the engine")


class Event:
    """A moment in a stream."""

    def __init__(self) -> None:
        self._handle = checked(runtime().cudaEventCreate(), "making an event")

    def record(self, stream: CudaStream) -> None:
        """Mark the moment at which the stream has come here."""
        checked(runtime().cudaEventRecord(self._handle, stream.handle), "recording an event")

    def wait(self) -> None:
        """Until the stream has come here."""
        checked(runtime().cudaEventSynchronize(self._handle), "running the engine")

    def since(self, earlier: Event) -> float:
        """Milliseconds from ``earlier`` to this one; the clock ticks in half microseconds."""
        return float(checked(runtime().cudaEventElapsedTime(earlier._handle, self._handle), "reading an event"))


class CapturedGraph:
    """What ``enqueue`` puts into ``stream``, recorded without running it, to be launched as one.

    Raises GraphRefused where something in it cannot be recorded.
    """

    def __init__(self, stream: CudaStream, enqueue: Callable[[], None]) -> None:
        cuda = runtime()
        self._recorded = self._runnable = None
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        checked(cuda.cudaStreamBeginCapture(stream.handle, mode), "recording a graph")
        try:
            enqueue()
        except BackendMissing as error:
            raise GraphRefused from error
        finally:  # whatever happened: a stream that goes on recording runs nothing
            status, recorded = cuda.cudaStreamEndCapture(stream.handle)
            if int(status) == 0:
                self._recorded = recorded
            else:
                cuda.cudaGetLastError()  # else the next call would give it as its own
        if self._recorded is None:
            raise GraphRefused
        status, runnable = cuda.cudaGraphInstantiate(self._recorded, 0)
        if int(status):
            cuda.cudaGetLastError()
            raise GraphRefused
        self._runnable = runnable

    def launch(self, stream: CudaStream) -> None:
        """Run it, when the stream comes to it."""
        checked(runtime().cudaGraphLaunch(self._runnable, stream.handle), "running a graph")

    def __del__(self) -> None:
        if not sys.is_finalizing():
            if self._runnable is not None:
                runtime().cudaGraphExecDestroy(self._runnable)
            if self._recorded is not None:
                runtime().cudaGraphDestroy(self._recorded)


class GraphRefused(Exception):
    """CUDA cannot record what was enqueued as a graph."""


@contextmanager
def memory_taken() -> Iterator[list[int]]:
    """Yield a list that, after the block, holds how many bytes of the GPU's memory it took and kept."""
    taken: list[int] = []
    before = free_memory()
    yield taken
    taken.append(max(before - free_memory(), 0))
