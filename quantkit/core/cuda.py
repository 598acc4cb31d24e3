"""CUDA as counting on a GPU needs it: a device, memory on it, and kernels that are compiled where they run."""

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
HINT = "Install it with: pip install 'quantkit[cuda]'."


def select_gpu(device: str) -> int:
    """Make a GPU the current one.

    Args:
        device: ``cuda`` for the first, or ``cuda:1`` and so on, in upper or lower case.

    Returns:
        Its number.

    Raises:
        BackendMissing: There is no such GPU, or cuda-bindings is not installed.
    """
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise BackendMissing("A GPU is used through cuda-bindings, which is not installed.", HINT) from error
    status, count = runtime.cudaGetDeviceCount()
    there = int(count) if int(status) == 0 else 0
    number = device.lower().removeprefix("cuda").removeprefix(":") or "0"
    if not device.lower().startswith("cuda") or not number.isdigit() or int(number) >= there:
        names = ", ".join(f"{PREFIX}{i}" for i in range(there)) or "none; check nvidia-smi"
        raise BackendMissing(f"There is no GPU {device!r} here.", f"Use --device with one of: {names}.")
    checked(runtime.cudaSetDevice(int(number)), f"choosing {device}")
    checked(runtime.cudaFree(0), f"choosing {device}")  # makes its context
    return int(number)


def checked(result: tuple[Any, ...], doing: str) -> Any:
    """Return what a call returned besides its status; a tuple of several. Raises BackendMissing for an error."""
    status, *values = result
    if int(status) == 0:
        return values[0] if len(values) == 1 else tuple(values)
    hint = "Check it with nvidia-smi."
    if "OUT_OF_MEMORY" in status.name or "MemoryAllocation" in status.name:
        hint = "Free some of its memory, or leave --device out."
    raise BackendMissing(f"The GPU failed on {doing} ({status.name}).", hint)


def free_memory() -> int:
    """Return the number of free bytes on the current GPU."""
    from cuda.bindings import runtime

    free, _ = checked(runtime.cudaMemGetInfo(), "reading its free memory")
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
        from cuda.bindings import runtime

        self._runtime, self.address, self.size = runtime, 0, max(size, 1)
        self.address = int(checked(runtime.cudaMalloc(self.size), f"{size / 2**20:.0f} MB of memory"))
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
        self._module = checked(driver.cuModuleLoadData(_compiled(file)), f"loading {file.name}")
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


@cache
def _compiled(file: Path) -> bytes:
    """Compile a file for the current GPU; return the binary."""
    from cuda.bindings import nvrtc, runtime

    number = checked(runtime.cudaGetDevice(), "reading its number")
    properties = checked(runtime.cudaGetDeviceProperties(number), "reading its properties")
    option = f"--gpu-architecture=sm_{properties.major}{properties.minor}".encode()
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
            "Install a newer CUDA, or leave --device out.",
        )
    binary = b" " * int(checked(nvrtc.nvrtcGetCUBINSize(program), "compiling"))
    checked(nvrtc.nvrtcGetCUBIN(program, binary), "compiling")
    return binary


ADDRESS, LONG, INT, FLOAT = ctypes.c_void_p, ctypes.c_longlong, ctypes.c_int, ctypes.c_float
