"""Several requests at a time on one GPU: each has a context, a stream, memory and a CUDA graph of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BackendMissing
from quantkit.targets.session import Served
from quantkit.targets.tensorrt.engine import cuda
from quantkit.targets.tensorrt.engine.libraries import Library


class Lane:
    """What one request under way needs.

    Args:
        library: The library of the engine.
        engine: The engine.
        profile: The optimization profile that holds the inputs.
        inputs: The arrays of each request, by input.
        outputs: The outputs and their dtypes.

    Raises:
        BackendMissing: The GPU has not enough memory, or the engine allows a profile in one context alone.
    """

    def __init__(
        self,
        library: Library,
        engine: Any,
        profile: int,
        inputs: Mapping[str, npt.NDArray[Any]],
        outputs: Mapping[str, npt.DTypeLike],
    ) -> None:
        self._library, self._stream, self._done = library, cuda.CudaStream(), cuda.Event()
        self._context = engine.create_execution_context()
        if self._context is None or not self._context.set_optimization_profile_async(profile, self._stream.handle):
            raise BackendMissing(
                f"The GPU has no room for another request at a time ({library.last_error()}).",
                "Give fewer streams, or build the engine anew (--fresh, fresh=True) if it is of an older quantkit.",
            )
        self._copies: list[tuple[cuda.Memory, int, bool]] = []  # memory, bytes, and True to the device
        for name, values in inputs.items():
            self._context.set_input_shape(name, values.shape)
            memory = self._bound(name, values.nbytes)
            memory.host(values.shape, values.dtype)[...] = values
            self._copies.append((memory, values.nbytes, True))
        for name, dtype in outputs.items():
            size = int(np.prod(tuple(self._context.get_tensor_shape(name)), dtype=np.int64)) * np.dtype(dtype).itemsize
            self._copies.append((self._bound(name, size), size, False))
        self._work()  # what is recorded must have run once
        self._stream.wait()
        try:
            self._graph: cuda.CapturedGraph | None = cuda.CapturedGraph(self._stream, self._work)
        except cuda.GraphRefused:
            self._graph = None
        self._began = 0.0

    def begin(self) -> None:
        """Hand a request over."""
        self._began = time.perf_counter()
        if self._graph is None:
            self._work()
        else:
            self._graph.launch(self._stream)
        self._done.record(self._stream)

    def answered(self) -> float | None:
        """Return the milliseconds that the request took; None if it is still under way."""
        return (time.perf_counter() - self._began) * 1e3 if self._done.is_reached() else None

    def _bound(self, name: str, size: int) -> cuda.Memory:
        memory = cuda.Memory(size)
        self._context.set_tensor_address(name, memory.device)
        return memory

    def _work(self) -> None:
        for memory, size, _ in (own for own in self._copies if own[2]):
            memory.upload(size, self._stream)
        if not self._context.execute_async_v3(self._stream.handle):
            raise BackendMissing(f"TensorRT failed to run ({self._library.last_error()}).", "Build the engine again.")
        for memory, size, _ in (own for own in self._copies if not own[2]):
            memory.download(size, self._stream)


def answer(lanes: Sequence[Lane], seconds: float) -> Served:
    """Keep a request under way in each lane for some seconds; see ``ServingSession.serve``."""
    latencies: list[float] = []
    start = time.perf_counter()
    end = start + seconds
    for lane in lanes:
        lane.begin()
    under_way = list(lanes)
    while under_way:
        for lane in tuple(under_way):
            taken = lane.answered()
            if taken is None:
                continue
            latencies.append(taken)
            if time.perf_counter() < end:
                lane.begin()
            else:
                under_way.remove(lane)
    return Served(latencies, time.perf_counter() - start)
