"""A compiled model: inference, times by OpenVINO's own clock, and the precision that each layer really ran in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.artifact import Artifact
from quantkit.core.comparison import LayerTime
from quantkit.core.errors import TargetRefuses
from quantkit.core.wording import line_of
from quantkit.targets.base import failed_on
from quantkit.targets.openvino import library
from quantkit.targets.openvino.devices import configuration, runtime_of
from quantkit.targets.openvino.layers import bias_adders, executed_layers, executed_precision, meant_int8
from quantkit.targets.openvino.settings import OpenVinoSettings
from quantkit.targets.session import RequestTimes, Served

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
WARM_UP = 3
COMPILED_BYTES = 1 << 30  # of weights in the models that are compiled for shapes, and kept
FEWEST_COMPILED, MOST_COMPILED = 2, 16


class OpenVinoSession:
    """An IR file on a device.

    A model with dynamic shapes is compiled for each shape that it is run with, or once for all of them, depending on
    the settings. Of the compiled models, those of the last few shapes are kept.

    Args:
        artifact: The IR file.
        device: The device.
        settings: How the model is run.
        cache: The folder for compiled models; None means no cache.

    Raises:
        TargetRefuses: OpenVINO cannot read or compile the model.
    """

    def __init__(self, artifact: Artifact, device: str, settings: OpenVinoSettings, cache: Path | None = None) -> None:
        self._path, self._device, self._settings = artifact.path, device, settings
        self._config = configuration(device, artifact.precision, settings, cache)
        try:
            self._model = library.core().read_model(str(artifact.path))
        except RuntimeError as error:
            raise TargetRefuses(
                f"OpenVINO cannot read {artifact.path} ({line_of(error, last=True)}).", "Export it again."
            ) from error
        self._meant = meant_int8(self._model) if artifact.precision == "int8" else {}
        self._adders = bias_adders(self._model) if self._meant else {}
        self._dynamic = any(value.partial_shape.is_dynamic for value in self._model.inputs)
        self._requests: dict[Shapes, Any] = {}
        self._most = int(np.clip(COMPILED_BYTES // max(artifact.size_bytes, 1), FEWEST_COMPILED, MOST_COMPILED))
        first = self._compiled(self._first_shapes(), self._config)
        self._requests[self._key(self._first_shapes())] = first.create_infer_request()
        self._outputs = [_name_of(output) for output in self._model.outputs]
        self.runtime = runtime_of(first, "fixed" if self._fixes or not self._dynamic else "dynamic")
        self.executed_precision = executed_precision(first.get_runtime_model())

    @property
    def _fixes(self) -> bool:
        return self._dynamic and self._settings.shapes == "fixed"

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Run one batch; return the outputs by name, copied out of OpenVINO's memory. Raises BadInput if it fails."""
        try:
            results = self._request(inputs).infer(dict(inputs), share_inputs=True)
        except (RuntimeError, TargetRefuses) as error:
            raise failed_on(inputs, "OpenVINO", error) from error
        return {name: np.array(results[i]) for i, name in enumerate(self._outputs)}

    def as_delivered(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]] | None:
        """Run one batch on the model with its own dynamic shapes; return None if :meth:`infer` does that already."""
        if not self._fixes:
            return None
        try:
            request = self._compiled({}, self._config).create_infer_request()
            results = request.infer(dict(inputs))
        except (RuntimeError, TargetRefuses) as error:
            raise failed_on(inputs, "OpenVINO", error) from error
        return {name: np.array(results[i]) for i, name in enumerate(self._outputs)}

    def times(self, inputs: Mapping[str, npt.NDArray[Any]], repeats: int) -> RequestTimes:
        """Time inferences of one batch that is already in OpenVINO's memory, as benchmark_app does.

        With the hint "latency", they run one after the other; with "throughput", as many at a time as OpenVINO
        recommends.

        Args:
            inputs: The arrays of the batch by input.
            repeats: The number of inferences; with "throughput", at least two for each request.
        """
        import time

        request = self._request(inputs)
        if self._settings.hint == "throughput":
            return self._times_in_flight(request.get_compiled_model(), inputs, repeats)
        _fill(request, inputs)
        latencies = []
        start = time.perf_counter()
        for _ in range(repeats):
            request.infer()
            latencies.append(request.latency)
        return RequestTimes(latencies, (time.perf_counter() - start) * 1e3 / repeats)

    def _times_in_flight(self, compiled: Any, inputs: Mapping[str, npt.NDArray[Any]], repeats: int) -> RequestTimes:
        import time

        queue = library.openvino().AsyncInferQueue(compiled)
        for request in queue:
            _fill(request, inputs)
        latencies, started = [], set()
        count = max(repeats, 2 * len(queue))
        start = time.perf_counter()
        for _ in range(count):
            number = queue.get_idle_request_id()  # a callback would make every request wait for Python
            if number in started:
                latencies.append(queue[number].latency)
            started.add(number)
            queue.start_async()
        queue.wait_all()
        pace = (time.perf_counter() - start) * 1e3 / count
        return RequestTimes(latencies + [queue[number].latency for number in started], pace)

    def serve(self, inputs: Mapping[str, npt.NDArray[Any]], streams: int, seconds: float) -> Served:
        """Answer requests through OpenVINO's asynchronous queue, compiled with its hint for throughput."""
        import time

        shapes = {name: tuple(array.shape) for name, array in inputs.items()}
        config = dict(self._config) | {"PERFORMANCE_HINT": "THROUGHPUT", "PERFORMANCE_HINT_NUM_REQUESTS": streams}
        queue = library.openvino().AsyncInferQueue(self._compiled(shapes, config), streams)
        for request in queue:
            _fill(request, inputs)
            request.infer()
        latencies: list[float] = []
        started: set[int] = set()
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            number = queue.get_idle_request_id()  # waits; a callback would make every request wait for Python
            if number in started:
                latencies.append(queue[number].latency)
            started.add(number)
            queue.start_async()
        queue.wait_all()
        elapsed = time.perf_counter() - start
        return Served(latencies + [queue[number].latency for number in started], elapsed)

    def layer_times(self, inputs: Mapping[str, npt.NDArray[Any]], repeats: int) -> tuple[LayerTime, ...]:
        """Measure every layer that runs.

        Profiling slows inference down, so a separate model is compiled for it, which is not cached.

        Args:
            inputs: The arrays of the batch by input.
            repeats: The number of inferences to average over.

        Returns:
            The kernel, precision and mean milliseconds of every layer, in execution order.
        """
        shapes = {name: array.shape for name, array in inputs.items()}
        config = {key: value for key, value in self._config.items() if key != "CACHE_DIR"}
        compiled = self._compiled(shapes, config | {"PERF_COUNT": True})
        request = compiled.create_infer_request()
        _fill(request, inputs)
        for _ in range(WARM_UP):
            request.infer()
        taken: dict[str, float] = {}
        for _ in range(repeats):
            request.infer()
            for info in request.profiling_info:
                taken[info.node_name] = taken.get(info.node_name, 0.0) + info.real_time.total_seconds() * 1e3
        means = {name: total / repeats for name, total in taken.items()}
        return executed_layers(compiled.get_runtime_model(), means, self._meant, self._adders)

    def _first_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes to compile for before the first batch: one sample if only the batch is dynamic."""
        if not self._fixes:
            return {}
        shapes = {}
        for value in self._model.inputs:
            rank = value.partial_shape.rank
            if rank.is_dynamic or any(d.is_dynamic for d in list(value.partial_shape)[1:]):
                return {}
            shapes[value.any_name] = tuple(d.get_length() if d.is_static else 1 for d in value.partial_shape)
        return shapes

    def _key(self, shapes: Mapping[str, tuple[int, ...]]) -> Shapes:
        return tuple(sorted(shapes.items())) if self._fixes else ()

    def _request(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Any:
        shapes = {name: tuple(array.shape) for name, array in inputs.items()}
        key = self._key(shapes)
        request = self._requests.pop(key, None)
        if request is None:
            while len(self._requests) >= self._most:
                del self._requests[next(iter(self._requests))]
            request = self._compiled(shapes, self._config).create_infer_request()
        self._requests[key] = request  # the one that was used last comes last
        return request

    def _compiled(self, shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]) -> Any:
        try:
            model = self._model
            if self._fixes and shapes:
                model = model.clone()
                model.reshape({name: list(shape) for name, shape in shapes.items()})
            return library.core().compile_model(model, self._device, dict(config))
        except RuntimeError as error:
            raise TargetRefuses(
                f"OpenVINO cannot compile {self._path} for {self._device} ({line_of(error, last=True)}).",
                "Leave that precision out.",
            ) from error


def _name_of(output: Any) -> str:
    """Return the name of an output in the ONNX model, of which it may have several if others are copies of it."""
    own = output.get_node().get_friendly_name().removesuffix("/sink_port_0")
    return own if own in output.get_names() else str(output.any_name)


def _fill(request: Any, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
    """Copy a batch into the request's own memory."""
    tensor = library.openvino().Tensor
    for name, array in inputs.items():
        request.set_tensor(name, tensor(np.asarray(array, order="C"), shared_memory=False))
