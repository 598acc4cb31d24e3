"""The parts of CUDA's runtime that running an engine needs: what a GPU is, pinned memory, streams, events, graphs."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.cuda import checked, free_memory, runtime
from quantkit.core.errors import BackendMissing


def gpu_name(number: int) -> str:
    """Return the name of a GPU, such as "NVIDIA H200"."""
    properties = checked(runtime().cudaGetDeviceProperties(number), "reading its properties")
    name = properties.name
    return (name.decode() if isinstance(name, bytes) else str(name)).strip("\0 ")


def compute_capability(number: int) -> str:
    """Return the compute capability of a GPU, such as "9.0"."""
    properties = checked(runtime().cudaGetDeviceProperties(number), "reading its properties")
    return f"{properties.major}.{properties.minor}"


def driver_version() -> str:
    """Return the newest CUDA version that the driver supports, such as "13.0"."""
    number = int(checked(runtime().cudaDriverGetVersion(), "reading the driver's version"))
    return f"{number // 1000}.{number % 1000 // 10}"


def pci_bus(number: int) -> str:
    """Return the PCI address of a GPU, such as "0000:65:00.0", by which NVML knows it."""
    name = checked(runtime().cudaDeviceGetPCIBusId(32, number), "reading its place")
    return (name.decode() if isinstance(name, bytes) else str(name)).strip("\0 ")


class Memory:
    """``size`` bytes on the device, and as many of pinned host memory, from which copies start directly."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.device = self._pinned = 0
        self.device = int(checked(runtime().cudaMalloc(max(size, 1)), f"{size / 2**20:.0f} MB of inputs and outputs"))
        self._pinned = int(checked(runtime().cudaMallocHost(max(size, 1)), "memory for copies"))

    def host(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return the pinned memory as an array, without a copy."""
        count = int(np.prod(shape, dtype=np.int64))
        raw = (ctypes.c_uint8 * (count * np.dtype(dtype).itemsize)).from_address(self._pinned)
        array: npt.NDArray[Any] = np.frombuffer(memoryview(raw), np.dtype(dtype), count)
        return array.reshape(shape)

    def upload(self, size: int, stream: CudaStream) -> None:
        """Enqueue a copy of the first ``size`` bytes to the device."""
        kind = runtime().cudaMemcpyKind.cudaMemcpyHostToDevice
        checked(runtime().cudaMemcpyAsync(self.device, self._pinned, size, kind, stream.handle), "copying inputs")

    def download(self, size: int, stream: CudaStream) -> None:
        """Enqueue a copy of the first ``size`` bytes back to the host."""
        kind = runtime().cudaMemcpyKind.cudaMemcpyDeviceToHost
        checked(runtime().cudaMemcpyAsync(self._pinned, self.device, size, kind, stream.handle), "copying outputs")

    def close(self) -> None:
        """Free the memory on the device and on the host."""
        if self.device:
            runtime().cudaFree(self.device)
        if self._pinned:
            runtime().cudaFreeHost(self._pinned)
        self.device = self._pinned = 0

    def __del__(self) -> None:
        if not sys.is_finalizing():  # when the process ends, all memory is freed anyway
            self.close()


class CudaStream:
    """A queue of work on the GPU; ``handle`` is what TensorRT expects."""

    def __init__(self) -> None:
        self.handle = int(checked(runtime().cudaStreamCreate(), "making a stream"))

    def wait(self) -> None:
        """Wait until all work in the stream is done."""
        checked(runtime().cudaStreamSynchronize(self.handle), "running the engine")


class Event:
    """A point in a stream."""

    def __init__(self) -> None:
        self._handle = checked(runtime().cudaEventCreate(), "making an event")

    def record(self, stream: CudaStream) -> None:
        """Enqueue the event; it takes the time at which the stream reaches it."""
        checked(runtime().cudaEventRecord(self._handle, stream.handle), "recording an event")

    def wait(self) -> None:
        """Wait until the stream has reached the event."""
        checked(runtime().cudaEventSynchronize(self._handle), "running the engine")

    def is_reached(self) -> bool:
        """True if the stream has reached the event."""
        (status,) = runtime().cudaEventQuery(self._handle)
        if int(status) == 0:
            return True
        if status.name != "cudaErrorNotReady":
            checked((status,), "running the engine")
        return False

    def since(self, earlier: Event) -> float:
        """Return the milliseconds from ``earlier`` to this event; the clock ticks in half microseconds."""
        return float(checked(runtime().cudaEventElapsedTime(earlier._handle, self._handle), "reading an event"))


class CapturedGraph:
    """The work that ``enqueue`` adds to ``stream``, recorded without running it, to be launched as one.

    Raises:
        GraphRefused: Some of the work cannot be recorded.
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
        finally:  # in any case, because a stream that is still recording does not run anything
            status, recorded = cuda.cudaStreamEndCapture(stream.handle)
            if int(status) == 0:
                self._recorded = recorded
            else:
                cuda.cudaGetLastError()  # clears the error, which the next call would otherwise return as its own
        if self._recorded is None:
            raise GraphRefused
        status, runnable = cuda.cudaGraphInstantiate(self._recorded, 0)
        if int(status):
            cuda.cudaGetLastError()
            raise GraphRefused
        self._runnable = runnable

    def launch(self, stream: CudaStream) -> None:
        """Enqueue the graph."""
        checked(runtime().cudaGraphLaunch(self._runnable, stream.handle), "running a graph")

    def __del__(self) -> None:
        if not sys.is_finalizing():
            if self._runnable is not None:
                runtime().cudaGraphExecDestroy(self._runnable)
            if self._recorded is not None:
                runtime().cudaGraphDestroy(self._recorded)


class GraphRefused(Exception):
    """Raised if CUDA cannot record the enqueued work as a graph."""


@contextmanager
def memory_taken() -> Iterator[list[int]]:
    """Yield a list that, after the block, holds the number of bytes of GPU memory that the block allocated and kept."""
    taken: list[int] = []
    before = free_memory()
    yield taken
    taken.append(max(before - free_memory(), 0))
