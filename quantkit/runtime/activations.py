"""Computes every float activation of a model in one session with any number of threads."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from quantkit.core.errors import BadModel
from quantkit.core.files import NO_SPACE
from quantkit.graph.clamps import clamps_of
from quantkit.graph.graph import Graph, activation_names
from quantkit.graph.model_file import ModelFile
from quantkit.runtime.out_of_reach import OutOfReach, computable, out_of_reach
from quantkit.runtime.session import cpu_session, failed_on, give_back_memory, gpu_session

SHRINK_ARENA = "memory.enable_memory_arena_shrinkage"
MOST_SHAPES = 64  # of inputs whose outputs' shapes are remembered; texts may have hundreds of lengths
FLOAT_TYPES = {"tensor(float)", "tensor(float16)", "tensor(double)"}

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""The name and shape of every input, sorted by name."""

Inputs = Mapping[str, npt.NDArray[np.generic]]
Activations = dict[str, npt.NDArray[np.float32]]


class ActivationSession:
    """A model in FP32, with its float activations as outputs, except clamps.

    Activations are the graph's inputs and every node output that depends on one; tensors computed from weights alone
    are not included. ``clamps`` are the activations that follow from others, and ``names`` holds all of them in graph
    order.

    Args:
        model: The model.
        keep: True for the names of activations to include.
        threads: The number of threads that compute one run together; None means one for every core.
        apart: True for the names of tensors that no clamp may be derived from.
        gpu: The number of the GPU to run on instead of the CPU, for a :class:`~quantkit.runtime.on_gpu.GpuRunner`.

    Raises:
        BadModel: ``keep`` leaves no activation.
        BackendMissing: onnxruntime cannot use the GPU.
    """

    def __init__(
        self,
        model: ModelFile,
        keep: Callable[[str], bool] = lambda name: True,
        threads: int | None = None,
        apart: Callable[[str], bool] = lambda name: False,
        gpu: int | None = None,
    ) -> None:
        self.float_inputs = [i.name for i in model.inputs if i.dtype.startswith("float") and keep(i.name)]
        graph = Graph(model.graph_only.graph)
        out = out_of_reach(model.graph_only, model.source)
        wanted = [name for name in activation_names(graph) if keep(name) and name not in out.tensors]
        # The output of a ReLU or Clip follows from its input, so onnxruntime need not write both to memory.
        together = {name for name in (*wanted, *self.float_inputs) if not apart(name)}
        self.clamps = clamps_of(graph, together)
        cut = {clamp.name for clamp in self.clamps}
        asked = [name for name in wanted if name not in cut]
        more = [name for name in asked if name not in graph.outputs]
        with with_outputs(model.source, model.is_external, more, out) as source:
            folder = model.source.parent if model.is_external else None
            self.session = cpu_session(source, folder, threads) if gpu is None else gpu_session(source, folder, gpu)
        give_back_memory()
        floats = {o.name for o in self.session.get_outputs() if o.type in FLOAT_TYPES}
        self.fetched = [name for name in asked if name in floats]
        known = {*self.float_inputs, *self.fetched}
        self.clamps = [clamp for clamp in self.clamps if clamp.source in known]  # drops clamps of integers
        derived = {clamp.name for clamp in self.clamps}
        # The shapes and dtypes of a run's outputs by input shapes; other runners allocate them before their first run.
        self.output_shapes: dict[Shapes, list[tuple[tuple[int, ...], np.dtype[Any]]]] = {}
        self.names = self.float_inputs + [name for name in wanted if name in known or name in derived]
        if not self.fetched and not all(map(keep, activation_names(graph))):
            raise BadModel(f"{model.path} has no float activation to measure.", "Exclude less (--exclude, exclude=).")


class Runner:
    """Runs an :class:`ActivationSession` repeatedly into the same memory. Each thread needs its own runner."""

    def __init__(self, session: ActivationSession) -> None:
        self.clamps = session.clamps
        self._session = session
        self._outputs: list[npt.NDArray[np.generic]] = []
        self._binding: ort.IOBinding | None = None
        self._shapes: Shapes = ()

    def run(self, inputs: Inputs) -> Activations:
        """Run one batch.

        Args:
            inputs: The arrays of the batch, by input.

        Returns:
            All activations except the session's clamps, as float32 arrays that the next run overwrites.

        Raises:
            BadModel: The model fails on the batch.
        """
        inputs = {name: np.asarray(array, order="C") for name, array in inputs.items()}
        shapes = tuple((name, array.shape) for name, array in sorted(inputs.items()))
        if shapes != self._shapes:
            self._outputs, self._binding, self._shapes = [], None, shapes  # free the old ones first
            known = self._session.output_shapes.get(shapes)
            if known is not None:
                self._bind([np.empty(shape, dtype) for shape, dtype in known])
        if not self._session.fetched:  # a model of integers alone
            return {name: np.asarray(inputs[name], dtype=np.float32) for name in self._session.float_inputs}
        if self._binding is None or not self._run_bound(inputs):
            self._run_unbound(inputs)
            if len(self._session.output_shapes) >= MOST_SHAPES:
                self._session.output_shapes.clear()
            self._session.output_shapes[shapes] = [(array.shape, array.dtype) for array in self._outputs]
        fetched = zip(self._session.fetched, self._outputs, strict=True)
        named = {name: inputs[name] for name in self._session.float_inputs} | dict(fetched)
        return {name: np.asarray(array, dtype=np.float32) for name, array in named.items()}

    def _run_bound(self, inputs: Inputs) -> bool:
        """Run into the arrays of the previous run; return False if an output's shape has changed with the values."""
        assert self._binding is not None
        for name, array in inputs.items():
            self._binding.bind_cpu_input(name, array)
        try:
            self._session.session.run_with_iobinding(self._binding)
        except Exception:  # noqa: BLE001  (onnxruntime's own types; a real failure recurs in the unbound run)
            return False
        return True

    def _run_unbound(self, inputs: Inputs) -> None:
        self._outputs, self._binding = [], None  # free the old ones first
        options = ort.RunOptions()
        # Otherwise the arena would keep room for all outputs, which is never used again.
        options.add_run_config_entry(SHRINK_ARENA, "cpu:0")
        try:
            self._outputs = self._session.session.run(self._session.fetched, dict(inputs), options)
        except Exception as error:
            raise failed_on(inputs, error, "Check the preprocessing size and layout against the model.") from error
        self._bind([np.require(array, requirements=["C", "W"]) for array in self._outputs])

    def _bind(self, outputs: list[npt.NDArray[np.generic]]) -> None:
        self._outputs = outputs
        self._binding = self._session.session.io_binding()
        for name, array in zip(self._session.fetched, outputs, strict=True):
            self._binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)


@contextmanager
def with_outputs(file: Path, external: bool, names: Sequence[str], out: OutOfReach) -> Iterator[Path | bytes]:
    """Make a temporary copy of a model's file with more outputs, without holding the model in memory.

    Messages that follow one another in a file are read as one, with their lists joined: this is how protocol buffers
    merge. onnxruntime infers the types of outputs that are declared by name alone.

    Args:
        file: The model.
        external: True if the weights are in other files. Such a model is small, and the copy is bytes, because a copied
            file would look for the weights beside itself.
        names: The tensors to add as outputs, all within reach.
        out: What is out of onnxruntime's reach, which the copy is without.

    Yields:
        The path or the bytes of the copy.

    Raises:
        BadModel: There is no space for the copy.
    """
    outputs = [onnx.ValueInfoProto(name=name) for name in names]
    addition = onnx.ModelProto(graph=onnx.GraphProto(output=outputs))
    if external:
        yield computable(file, out) + addition.SerializeToString()
        return
    with tempfile.TemporaryDirectory(prefix="quantkit-") as folder:
        path = Path(folder) / "model.onnx"
        try:
            if out.nodes:
                path.write_bytes(computable(file, out))
            else:
                shutil.copyfile(file, path)
            with path.open("ab") as copy:
                copy.write(addition.SerializeToString())
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            raise BadModel(f"There is no room for a copy of {file}.", "Free some space where TMPDIR points.") from error
        yield path
