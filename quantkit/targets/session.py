"""The protocols of loaded models, and what they measure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt

from quantkit.core.comparison import LayerTime


class Session(Protocol):
    """A model loaded on a device."""

    @property
    def executed_precision(self) -> str:
        """The precision that the Conv, Gemm and MatMul layers run in: "f32", "int8", or a mix such as "int8 52, f32 1".

        This is the precision of the kernels that run, which may differ from the artifact's.
        """

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Run one batch and wait for its outputs.

        Args:
            inputs: The arrays of the batch by input, with samples along the first axis.

        Returns:
            The outputs by name.

        Raises:
            BadInput: The model fails on the batch.
        """


@runtime_checkable
class DeliveredSession(Session, Protocol):
    """A session that compiles the delivered file in another way, such as for fixed shapes, to run it fast."""

    def as_delivered(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]] | None:
        """Run one batch on the file as it is.

        Args:
            inputs: The arrays of the batch by input.

        Returns:
            The outputs by name; None if :meth:`infer` runs the file as it is.

        Raises:
            BadInput: The model fails on the batch.
        """


@dataclass(frozen=True)
class RequestTimes:
    """The times of inferences by the runtime's own clock.

    Attributes:
        latency: The milliseconds of each inference.
        back_to_back: The total milliseconds divided by the number of inferences, including time between them.
    """

    latency: Sequence[float]
    back_to_back: float


@runtime_checkable
class TimedSession(Session, Protocol):
    """A session that times inferences itself, for a batch that is already in the runtime's memory."""

    @property
    def runtime(self) -> dict[str, str]:
        """The runtime's own description of how it runs the model, such as threads and streams, by name."""

    def times(self, inputs: Mapping[str, npt.NDArray[Any]], repeats: int) -> RequestTimes:
        """Time inferences of one batch.

        Args:
            inputs: The arrays of the batch by input.
            repeats: The number of inferences; a session that runs several at a time may need more.

        Returns:
            The times.
        """

    def layer_times(self, inputs: Mapping[str, npt.NDArray[Any]], repeats: int) -> tuple[LayerTime, ...]:
        """Measure every layer.

        This must not affect what :meth:`times` measures, for example by leaving profiling on.

        Args:
            inputs: The arrays of the batch by input.
            repeats: The number of inferences to average over.

        Returns:
            The mean milliseconds of every layer, in execution order.
        """


@dataclass(frozen=True)
class DeviceTimes:
    """The times of inferences by the device's own clock, in milliseconds.

    Attributes:
        compute: The time of each inference, without copies between host and device.
        with_copies: The time of each inference, including these copies.
        back_to_back: The mean time of inferences that are enqueued back to back.
        graph: The time of each inference without copies, with all kernels launched as one CUDA graph; empty if that is
            not possible.
    """

    compute: Sequence[float]
    with_copies: Sequence[float]
    back_to_back: float
    graph: Sequence[float] = ()


@runtime_checkable
class DeviceSession(Session, Protocol):
    """A model loaded on a device that has its own clock and memory."""

    @property
    def memory_bytes(self) -> int:
        """The bytes of device memory that the loaded model occupies."""

    @property
    def device_name(self) -> str:
        """The name of the device, such as "NVIDIA H200"."""

    @property
    def bus(self) -> str:
        """The device's address on the PCI bus, such as "0000:65:00.0"."""

    def device_times(self, inputs: Mapping[str, npt.NDArray[Any]], repeats: int) -> DeviceTimes:
        """Time inferences of one batch.

        Args:
            inputs: The arrays of the batch by input.
            repeats: The number of inferences.

        Returns:
            The times.
        """

    def layer_times(self, inputs: Mapping[str, npt.NDArray[Any]], repeats: int) -> tuple[LayerTime, ...]:
        """Measure every layer.

        Args:
            inputs: The arrays of the batch by input.
            repeats: The number of inferences to average over.

        Returns:
            The mean milliseconds of every layer, in execution order.
        """


@dataclass(frozen=True)
class Served:
    """The requests that were answered in a stretch of time.

    Attributes:
        latency: The milliseconds of each request, from when it was handed over to its answer.
        seconds: The time from the first request to the last answer.
    """

    latency: Sequence[float]
    seconds: float


@runtime_checkable
class ServingSession(Session, Protocol):
    """A session that answers several requests at a time."""

    def serve(self, inputs: Mapping[str, npt.NDArray[Any]], streams: int, seconds: float) -> Served:
        """Answer requests without a pause, so many at a time; as soon as one is answered, the next is handed over.

        Args:
            inputs: The arrays of one request, by input.
            streams: The number of requests under way.
            seconds: For how long requests are handed over.

        Returns:
            The requests' times.

        Raises:
            BackendMissing: The device has not enough memory for so many.
        """


def served_in_threads(run: Callable[[], object], streams: int, seconds: float) -> Served:
    """Call a function from so many threads for some seconds; see :meth:`ServingSession.serve`."""
    barrier = threading.Barrier(streams + 1)
    taken: list[list[float]] = [[] for _ in range(streams)]

    def work(own: list[float]) -> None:
        barrier.wait()
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            run()
            own.append((time.perf_counter() - start) * 1e3)

    with ThreadPoolExecutor(streams, thread_name_prefix="request") as pool:
        futures = [pool.submit(work, own) for own in taken]
        barrier.wait()
        start = time.perf_counter()
        for future in futures:
            future.result()
    return Served([ms for own in taken for ms in own], time.perf_counter() - start)


class LayerOutputs(Protocol):
    """A model whose outputs are the outputs of its layers."""

    @property
    def names(self) -> tuple[str, ...]:
        """The wanted tensors that are available, by their names in the user's model."""

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Run one batch.

        Args:
            inputs: The arrays of the batch by input.

        Returns:
            The floating-point arrays of the tensors in :attr:`names`. They are valid until the next batch.

        Raises:
            BadInput: The model fails on the batch, or the runtime cannot compute these tensors.
        """
