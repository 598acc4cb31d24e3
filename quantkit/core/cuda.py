"""CUDA: the GPUs that are here, memory on them, and kernels that are compiled where they run."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BackendMissing

PREFIX = "cuda:"
DEVICES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/nvhost-gpu", "/dev/nvgpu")
NO_GPU = "there is no NVIDIA GPU, or no driver for it"
HINT = "Install it with: pip install 'quantkit-int8[cuda]'."


def runtime() -> Any:
    """Return the module ``cuda.bindings.runtime``. Raises ImportError if it is not installed."""
    from cuda.bindings import runtime as module

    return module


def checked(result: tuple[Any, ...], doing: str) -> Any:
    """Return what a CUDA call returned besides its status.

    Args:
        result: The status and the values that the call returned.
        doing: What the call was for, for the message.

    Returns:
        The value, or a tuple of several.

    Raises:
        BackendMissing: The status is an error.
    """
    status, *values = result
    if int(status) == 0:
        return values[0] if len(values) == 1 else tuple(values)
    if status.name in ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY"):
        free = runtime().cudaMemGetInfo()
        left = f", {free[1] / 2**20:.0f} MB are free" if int(free[0]) == 0 else ""
        raise BackendMissing(f"The GPU has not enough memory for {doing}{left}.", "Use a smaller batch, or free some.")
    raise BackendMissing(f"The GPU failed on {doing} ({status.name}).", "Check it with nvidia-smi.")


def driver_is_here() -> bool:
    """True if an NVIDIA GPU may be here: its driver's library loads, or there are its devices. It takes no package.

    The devices are those of desktops and servers, of WSL, and of Jetson boards.
    """
    if sys.platform == "darwin":
        return False
    if any(Path(device).exists() for device in DEVICES):
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def device_count() -> int:
    """Return the number of GPUs that the driver shows; 0 if there is none, or no driver."""
    status, count = runtime().cudaGetDeviceCount()
    return int(count) if int(status) == 0 else 0


def select(device: str) -> int:
    """Make a GPU this thread's current one, and return its number.

    Args:
        device: Its name, such as ``cuda:0``, in upper or lower case.

    Raises:
        BackendMissing: There is no such GPU, or cuda-bindings is not installed.
    """
    try:
        count = device_count()
    except ImportError as error:
        if not driver_is_here():
            raise BackendMissing(f"{device} cannot be used here: {NO_GPU}.", "Check it with nvidia-smi.") from error
        raise BackendMissing("A GPU is used through cuda-bindings, which is not installed.", HINT) from error
    number = device.lower().removeprefix(PREFIX)
    if not device.lower().startswith(PREFIX) or not number.isdigit() or int(number) >= count:
        there = ", ".join(f"{PREFIX}{i}" for i in range(count)) or "none"
        raise BackendMissing(f"There is no GPU {device!r} here.", f"Use one of these devices: {there}.")
    make_current(int(number))
    return int(number)


def make_current(number: int) -> None:
    """Make a GPU this thread's current one: each thread begins with the first."""
    checked(runtime().cudaSetDevice(number), f"choosing {PREFIX}{number}")


def free_memory() -> int:
    """Return the number of free bytes on the current GPU."""
    free, _ = checked(runtime().cudaMemGetInfo(), "reading its free memory")
    return int(free)


@dataclass(frozen=True)
class OnGpu:
    """A contiguous float32 tensor on the current GPU."""

    address: int
    shape: tuple[int, ...]


class Buffer:
    """Memory on the current GPU, zeroed.

    Args:
        size: The number of bytes.
    """

    def __init__(self, size: int) -> None:
        self._runtime, self.address, self.size = runtime(), 0, max(size, 1)
        self.address = int(checked(self._runtime.cudaMalloc(self.size), f"{size / 2**20:.0f} MB of memory"))
        self.clear()

    def clear(self) -> None:
        """Set all bytes to 0."""
        checked(self._runtime.cudaMemset(self.address, 0, self.size), "clearing memory")

    def upload(self, values: npt.NDArray[Any], start: int = 0) -> None:
        """Copy a C-contiguous array to ``start`` bytes from the beginning."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        source = values.__array_interface__["data"][0]
        checked(self._runtime.cudaMemcpy(self.address + start, source, values.nbytes, kind), "copying to it")

    def download(self, dtype: npt.DTypeLike, count: int, start: int = 0) -> npt.NDArray[Any]:
        """Return ``count`` values from ``start`` bytes on, after all work before."""
        values = np.empty(count, dtype)
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        target = values.__array_interface__["data"][0]
        checked(self._runtime.cudaMemcpy(target, self.address + start, values.nbytes, kind), "copying from it")
        return values

    def __del__(self) -> None:
        if self.address and not sys.is_finalizing():  # when the process ends, all memory is freed anyway
            self._runtime.cudaFree(self.address)


class Kernels:
    """The kernels of a CUDA file, compiled for the current GPU.

    Args:
        file: The file.

    Raises:
        BackendMissing: NVRTC is not there, or does not know the GPU.
    """

    def __init__(self, file: Path) -> None:
        from cuda.bindings import driver

        self._driver = driver
        checked(runtime().cudaFree(0), "starting CUDA")  # makes the context that the driver's calls work in
        self._module = checked(driver.cuModuleLoadData(_compiled(file, _architecture())), f"loading {file.name}")
        self._functions: dict[str, Any] = {}

    def launch(
        self, name: str, grid: Sequence[int], block: Sequence[int], values: Sequence[int | float], kinds: Sequence[Any]
    ) -> None:
        """Enqueue a kernel behind all work before.

        Args:
            name: The kernel.
            grid: The blocks along up to three axes.
            block: The threads of a block along up to three axes.
            values: The arguments; addresses are integers.
            kinds: Their ctypes.
        """
        if name not in self._functions:
            own = self._driver.cuModuleGetFunction(self._module, name.encode())
            self._functions[name] = checked(own, f"finding {name}")
        sizes = (*([*grid, 1, 1][:3]), *([*block, 1, 1][:3]))
        arguments = (tuple(values), tuple(kinds))
        checked(self._driver.cuLaunchKernel(self._functions[name], *sizes, 0, 0, arguments, 0), f"running {name}")


def _architecture() -> str:
    """Return the current GPU's, such as "sm_90"."""
    number = checked(runtime().cudaGetDevice(), "reading its number")
    properties = checked(runtime().cudaGetDeviceProperties(number), "reading its properties")
    return f"sm_{properties.major}{properties.minor}"


@cache
def _compiled(file: Path, architecture: str) -> bytes:
    """Compile a file for an architecture; return the binary."""
    from cuda.bindings import nvrtc

    option = f"--gpu-architecture={architecture}".encode()
    try:
        program = checked(nvrtc.nvrtcCreateProgram(file.read_bytes(), file.name.encode(), 0, [], []), "compiling")
    except RuntimeError as error:  # cuda-bindings looks for the library when it is first used
        raise BackendMissing(f"NVRTC, CUDA's compiler, is not here ({error}).", HINT) from error
    result = nvrtc.nvrtcCompileProgram(program, 1, [option])
    if int(result[0]):
        log = b" " * int(checked(nvrtc.nvrtcGetProgramLogSize(program), "compiling"))
        nvrtc.nvrtcGetProgramLog(program, log)
        raise BackendMissing(
            f"NVRTC cannot compile {file.name} for this GPU ({log.decode(errors='replace').strip()[:300]}).",
            "Install a newer CUDA, or use the device cpu.",
        )
    binary = b" " * int(checked(nvrtc.nvrtcGetCUBINSize(program), "compiling"))
    checked(nvrtc.nvrtcGetCUBIN(program, binary), "compiling")
    return binary


ADDRESS, LONG, INT, FLOAT = ctypes.c_void_p, ctypes.c_longlong, ctypes.c_int, ctypes.c_float
