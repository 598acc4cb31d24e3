"""Loads and runs a built engine."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import LayerTime
from quantkit.core.cuda import make_current, select
from quantkit.core.errors import BackendMissing, BadData, BadModel, BadRun, TargetRefuses
from quantkit.core.record import read_record
from quantkit.targets.base import failed_on
from quantkit.targets.session import DeviceTimes, Served
from quantkit.targets.tensorrt.engine import cuda
from quantkit.targets.tensorrt.engine.lanes import Lane, answer
from quantkit.targets.tensorrt.engine.layers import OTHER_PROFILE, engine_layers, executed_precision
from quantkit.targets.tensorrt.engine.libraries import OLD_DRIVER, TENSORRT, Library
from quantkit.targets.tensorrt.engine.plugins import load_plugins
from quantkit.targets.tensorrt.engine.record import ENGINE_RECORD, EngineLayer, EngineRecord, Where

log = logging.getLogger("quantkit")


def here(device: int, library: Library = TENSORRT) -> Where:
    """Return the library and GPU that are here."""
    return Where(
        tensorrt=library.version(),
        gpu=cuda.gpu_name(device),
        compute_capability=cuda.compute_capability(device),
        driver=cuda.driver_version(),
    )


REBUILD = "Make it again with quantkit build."


def load_engine(path: Path, device: str, library: Library = TENSORRT, plugins: Sequence[Path] = ()) -> EngineSession:
    """Load ``model.engine``, as described by the ``engine.json`` beside it.

    Args:
        path: The engine.
        device: The GPU, such as "cuda:0".
        library: The library that runs it.
        plugins: Libraries of plugins to load first.

    Returns:
        The session.

    Raises:
        BadInput: A file is missing or damaged.
        TargetRefuses: The engine was built for another machine; the message names the differences.
        BackendMissing: The device is absent or has too little memory.
    """
    library.require()
    number = select(device)
    load_plugins(library, plugins)
    record = read_record(EngineRecord, path.with_name(ENGINE_RECORD), "quantkit build")
    try:
        plan = path.read_bytes()
    except OSError as error:
        raise BadRun(f"The engine {path} cannot be read ({error.strerror}).", "Make it with quantkit build.") from error
    if hashlib.sha256(plan).hexdigest() != record.engine_sha256:
        raise BadRun(f"{path} is not the engine that {ENGINE_RECORD} describes.", REBUILD)
    now = here(number, library)
    differences = "; ".join(record.where.differences(now))
    if not record.where.serves(now):
        raise TargetRefuses(
            f"The engine {path} was built for another machine: {differences}.", "Build it here with quantkit build."
        )
    if differences:
        log.info("%s was built elsewhere (%s).", path, differences)
    with cuda.memory_taken() as taken:
        session = EngineSession(plan, str(path), number, differences, library)
        session.layers = record.layers
        session.make_contexts()
    session.memory_bytes = taken[0]
    return session


class EngineSession:
    """An engine with an execution context for each of its profiles. It runs synchronously."""

    def __init__(
        self, plan: bytes, name: str, device: int = 0, differences: str = "", library: Library = TENSORRT
    ) -> None:
        trt = library.tensorrt()
        self._library = library
        with library.starting():
            self._runtime = trt.Runtime(library.messages())
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            reason = f"{library.last_error()}{'; ' + differences if differences else ''}"
            if OLD_DRIVER in reason:
                raise BackendMissing(
                    f"The NVIDIA driver is missing, or too old for {library.title} {library.version()} ({reason}).",
                    "Install a newer one; nvidia-smi shows which is here.",
                )
            if "memory" in reason.lower():
                raise BackendMissing(f"The GPU has not enough memory to load {name} ({reason}).", "Free some.")
            hint = "Build it here, with plugins (--plugin, plugins=) for operators that TensorRT does not have."
            raise TargetRefuses(f"{library.title} cannot load {name} ({reason}).", hint)
        self._name = name
        self._stream = cuda.CudaStream()
        self._events = [cuda.Event() for _ in range(4)]
        self._contexts: dict[int, Any] = {}
        self._memory: dict[str, cuda.Memory] = {}
        self._lanes: list[Lane] = []
        self._lanes_of: tuple[tuple[str, tuple[int, ...]], ...] = ()  # the inputs' shapes
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        modes = {tensor: self._engine.get_tensor_mode(tensor) for tensor in names}
        self._inputs = [tensor for tensor in names if modes[tensor] == trt.TensorIOMode.INPUT]
        self._outputs = [tensor for tensor in names if modes[tensor] == trt.TensorIOMode.OUTPUT]
        self._types = {tensor: trt.nptype(self._engine.get_tensor_dtype(tensor)) for tensor in names}
        self.layers: tuple[EngineLayer, ...] = ()
        self.memory_bytes = 0
        self._device = device
        self.device_name = cuda.gpu_name(device)
        self.bus = cuda.pci_bus(device)

    def make_contexts(self) -> None:
        """Make the context of each profile now, not on first use: contexts hold the memory of activations."""
        for number in range(self._engine.num_optimization_profiles):
            self._context(number)

    @property
    def executed_precision(self) -> str:
        """The precision that the weighted layers run in, such as "int8 52, f16 1"."""
        return executed_precision(self.layers)

    def inspect(self) -> tuple[EngineLayer, ...]:
        """Return the engine's layers for its first profile, as the engine inspector reports them."""
        trt = self._library.tensorrt()
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._context(0)
        text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
        # TensorRT 8.6 does not escape control characters in its JSON.
        return engine_layers(json.loads(text, strict=False))

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Run one batch, including copies; return the outputs by name."""
        context, shapes = self._prepare(inputs)
        self._copy_in(shapes)
        self._enqueue(context)
        self._copy_out(shapes)
        self._stream.wait()
        return {name: self._memory[name].host(shapes[name], self._types[name]).copy() for name in self._outputs}

    def device_times(self, inputs: Mapping[str, npt.NDArray[Any]], repeats: int) -> DeviceTimes:
        """Time inferences of one batch with CUDA events.

        ``compute`` is the time of the network alone. ``with_copies`` is the time from the first byte to the device to
        the last byte back, both through pinned memory. ``back_to_back`` is the mean time of inferences that are
        enqueued without waiting in between. ``graph`` is the time of the network alone, launched as a CUDA graph:
        otherwise, the CPU, which launches kernels one by one, can be slower than the GPU, which runs them.

        Args:
            inputs: The arrays of the batch by input.
            repeats: The number of inferences for each of these.

        Returns:
            The times in milliseconds.
        """
        context, shapes = self._prepare(inputs)
        start, copied, computed, end = self._events
        compute, with_copies = [], []
        for _ in range(repeats):
            start.record(self._stream)
            self._copy_in(shapes)
            copied.record(self._stream)
            self._enqueue(context)
            computed.record(self._stream)
            self._copy_out(shapes)
            end.record(self._stream)
            end.wait()
            compute.append(computed.since(copied))
            with_copies.append(end.since(start))
        start.record(self._stream)
        for _ in range(repeats):
            self._enqueue(context)
        end.record(self._stream)
        end.wait()
        return DeviceTimes(compute, with_copies, end.since(start) / repeats, self._graph_times(context, repeats))

    def _graph_times(self, context: Any, repeats: int) -> list[float]:
        """Return the times of the engine as a CUDA graph; empty if CUDA cannot record it."""
        start, _, _, end = self._events
        try:
            graph = cuda.CapturedGraph(self._stream, lambda: self._enqueue(context))
        except cuda.GraphRefused:
            return []
        graph.launch(self._stream)  # the first launch also copies the graph to the device
        times = []
        for _ in range(repeats):
            start.record(self._stream)
            graph.launch(self._stream)
            end.record(self._stream)
            end.wait()
            times.append(end.since(start))
        return times

    def serve(self, inputs: Mapping[str, npt.NDArray[Any]], streams: int, seconds: float) -> Served:
        """Answer requests in so many contexts, each with a stream of its own, launched as CUDA graphs."""
        make_current(self._device)
        shapes = tuple((name, inputs[name].shape) for name in self._inputs)
        if shapes != self._lanes_of:
            self._lanes, self._lanes_of = [], shapes
        number = self._profile_of(inputs)
        own = {name: np.ascontiguousarray(inputs[name], self._types[name]) for name in self._inputs}
        outputs = {name: self._types[name] for name in self._outputs}
        while len(self._lanes) < streams:
            self._lanes.append(Lane(self._library, self._engine, number, own, outputs))
        return answer(self._lanes[:streams], seconds)

    def layer_times(self, inputs: Mapping[str, npt.NDArray[Any]], repeats: int) -> tuple[LayerTime, ...]:
        """Measure every layer. Layers are measured one by one, so that their sum exceeds the time of the engine.

        Args:
            inputs: The arrays of the batch by input.
            repeats: The number of inferences to average over.

        Returns:
            The mean milliseconds of every layer, in execution order.
        """
        trt = self._library.tensorrt()
        context, shapes = self._prepare(inputs)
        taken: dict[str, float] = {}

        class Profiler(trt.IProfiler):  # type: ignore[misc, name-defined, unused-ignore]
            def __init__(self) -> None:
                trt.IProfiler.__init__(self)

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                taken[layer_name] = taken.get(layer_name, 0.0) + ms

        # This context is used because TensorRT 8.6 allows a profile in only one context. It is dropped afterwards,
        # because a profiler makes every enqueue wait.
        context.profiler = Profiler()
        self._copy_in(shapes)
        self._enqueue(context)
        self._stream.wait()
        taken.clear()  # that was the warm-up
        for _ in range(repeats):
            self._enqueue(context)
            self._stream.wait()
        del self._contexts[next(number for number, own in self._contexts.items() if own is context)]
        precisions = {layer.name: layer.precision for layer in self.layers}
        named = {OTHER_PROFILE.sub("", name): total / repeats for name, total in taken.items()}
        return tuple(LayerTime(name=name, precision=precisions.get(name, ""), ms=ms) for name, ms in named.items())

    def _prepare(self, inputs: Mapping[str, npt.NDArray[Any]]) -> tuple[Any, dict[str, tuple[int, ...]]]:
        """Return a context whose profile holds these shapes, with memory for all tensors.

        The inputs are copied to pinned memory.
        """
        make_current(self._device)
        missing = [name for name in self._inputs if name not in inputs]
        if missing:
            raise BadData(f"The engine's input {missing[0]!r} is not given.", "Feed every input of the model.")
        context = self._context(self._profile_of(inputs))
        shapes: dict[str, tuple[int, ...]] = {}
        self._bind(context, inputs, shapes)
        for name in self._inputs:
            self._memory[name].host(shapes[name], self._types[name])[...] = inputs[name]
        return context, shapes

    def _profile_of(self, inputs: Mapping[str, npt.NDArray[Any]]) -> int:
        """Return the number of a profile that holds these inputs. Raises BadData if there is none."""
        for number in range(self._engine.num_optimization_profiles):
            if all(self._holds(number, name, inputs[name].shape) for name in self._inputs):
                return number
        given = ", ".join(f"{name} {inputs[name].shape}" for name in self._inputs)
        raise BadData(
            f"No profile of {self._name} holds {given}.", "Build the engine with that shape (--shape, shapes=)."
        )

    def _holds(self, number: int, name: str, shape: tuple[int, ...]) -> bool:
        least, _, largest = self._engine.get_tensor_profile_shape(name, number)
        return len(shape) == len(tuple(least)) and all(
            low <= size <= high for low, size, high in zip(tuple(least), shape, tuple(largest), strict=True)
        )

    def _context(self, number: int) -> Any:
        if number not in self._contexts:
            context = self._engine.create_execution_context()
            if context is None:
                reason = self._library.last_error()
                if "memory" in reason.lower():
                    raise BackendMissing(
                        f"The GPU has not enough memory to run {self._name} ({reason}).",
                        "Use a smaller batch, or free some.",
                    )
                # TensorRT 8.6 did so with engines of a transformer of which few layers were in INT8, beside 138 GiB.
                raise TargetRefuses(
                    f"{self._library.title} cannot set {self._name} up to run ({reason}).",
                    "Build it again (--fresh, fresh=True), or leave that precision out.",
                )
            context.set_optimization_profile_async(number, self._stream.handle)
            self._stream.wait()
            self._contexts[number] = context
        return self._contexts[number]

    def _bind(self, context: Any, inputs: Mapping[str, npt.NDArray[Any]], shapes: dict[str, tuple[int, ...]]) -> None:
        for name in self._inputs:
            if not context.set_input_shape(name, inputs[name].shape):
                raise failed_on(inputs, self._library.title, RuntimeError(self._library.last_error()))
        for name in (*self._inputs, *self._outputs):
            shapes[name] = tuple(context.get_tensor_shape(name))
            if min(shapes[name], default=1) < 0:
                raise BadModel(
                    f"The shape of output {name!r} depends on the data.", "Measure a model of fixed output shapes."
                )
            size = int(np.prod(shapes[name], dtype=np.int64)) * np.dtype(self._types[name]).itemsize
            if name not in self._memory or self._memory[name].size < size:
                self._memory[name] = cuda.Memory(size)
            context.set_tensor_address(name, self._memory[name].device)

    def _bytes(self, name: str, shapes: Mapping[str, tuple[int, ...]]) -> int:
        return int(np.prod(shapes[name], dtype=np.int64)) * int(np.dtype(self._types[name]).itemsize)

    def _copy_in(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        for name in self._inputs:
            self._memory[name].upload(self._bytes(name, shapes), self._stream)

    def _copy_out(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        for name in self._outputs:
            self._memory[name].download(self._bytes(name, shapes), self._stream)

    def _enqueue(self, context: Any) -> None:
        if not context.execute_async_v3(self._stream.handle):
            raise BackendMissing(
                f"{self._library.title} failed to run {self._name} ({self._library.last_error()}).", "Build it again."
            )
