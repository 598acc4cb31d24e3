"""Reads the outputs of an IR's layers by adding outputs to it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from quantkit.core.errors import TargetRefuses
from quantkit.core.wording import line_of
from quantkit.qdq.metadata import dequantized_name
from quantkit.targets.base import failed_on
from quantkit.targets.openvino import library
from quantkit.targets.openvino.layers import WEIGHTED

DEVICE = "CPU"  # the device that computes the values, whatever device is measured
ROUNDING = ("FakeQuantize", "Convert", "Subtract", "Multiply")


class OpenVinoOutputs:
    """Floating-point tensors of the ONNX model that an IR was made from, computed on the CPU device.

    OpenVINO's ONNX frontend keeps the names of tensors. A tensor that is rounded is read after the rounding, unless it
    only goes from a Conv or a matrix product into a residual sum: the CPU computes both in one kernel and rounds
    nothing between them. Reading the inputs of a sum prevents that kernel. Such tensors therefore come from a second
    run, so that the others keep the values that they have when nothing is read.

    Args:
        path: The IR file.
        tensors: The wanted tensors.

    Raises:
        TargetRefuses: OpenVINO cannot read the IR, or later cannot compile it with more outputs.
    """

    def __init__(self, path: Path, tensors: Collection[str]) -> None:
        outputs = _named(_read(path))
        known = [name for name in tensors if name in outputs]
        summed = [name for name in known if _into_sum(outputs[name])]
        parts = ([name for name in known if name not in summed], summed)
        self._parts = [_Part(path, part) for part in parts if part]
        self.names = tuple(known)

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Run one batch.

        Args:
            inputs: The arrays of the batch by input.

        Returns:
            The tensors by name. They are valid until the next batch.

        Raises:
            BadInput: The model fails on the batch.
        """
        return {name: values for part in self._parts for name, values in part.infer(inputs)}


class _Part:
    """Some of the tensors, from a model that is compiled for them."""

    def __init__(self, path: Path, tensors: Collection[str]) -> None:
        self._path = path
        self._model = _read(path)
        outputs = _named(self._model)
        own = [result.get_node().input_value(0) for result in self._model.outputs]
        places = {_key(output): place for place, output in enumerate(own)}
        self._positions = {}
        for name in tensors:
            # In a Q/DQ model, the output of DequantizeLinear keeps its name; that of FakeQuantize holds integers.
            rounded = outputs.get(dequantized_name(name)) or _rounded(outputs[name])
            output = outputs[name] if _fuses_with_sum(outputs[name]) else rounded
            key = _key(output)
            if key not in places:
                before = len(self._model.outputs)
                try:
                    self._model.add_outputs(output)
                except RuntimeError as error:
                    raise self._refusal(error) from error
                if len(self._model.outputs) == before:  # OpenVINO adds no second output to the same place
                    continue
                places[key] = before
            self._positions[name] = places[key]
        self._request: Any = None
        self._shapes: dict[str, tuple[int, ...]] = {}

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        shapes = {name: array.shape for name, array in inputs.items()}
        if shapes != self._shapes:
            self._request = self._compiled(shapes)
            self._shapes = shapes
        try:
            self._request.infer(dict(inputs), share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            raise failed_on(inputs, "OpenVINO", error) from error
        return ((name, self._request.get_output_tensor(place).data) for name, place in self._positions.items())

    def _compiled(self, shapes: Mapping[str, tuple[int, ...]]) -> Any:
        try:
            model = self._model
            if any(value.partial_shape.is_dynamic for value in model.inputs):
                model = model.clone()
                model.reshape({name: list(shape) for name, shape in shapes.items()})
            compiled = library.core().compile_model(model, DEVICE, {"INFERENCE_PRECISION_HINT": "f32"})
            return compiled.create_infer_request()
        except RuntimeError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> TargetRefuses:
        return TargetRefuses(
            f"OpenVINO cannot compile {self._path} with its layers' outputs ({line_of(error, last=True)}).",
            "Nothing else depends on it.",
        )


def _read(path: Path) -> Any:
    try:
        return library.core().read_model(str(path))
    except RuntimeError as error:
        raise TargetRefuses(
            f"OpenVINO cannot read {path} ({line_of(error, last=True)}).", "Export it again."
        ) from error


def _named(model: Any) -> dict[str, Any]:
    """Return every floating-point output of the model by each of its names."""
    return {
        name: output
        for operation in model.get_ops()
        for output in operation.outputs()
        if output.get_element_type().is_real()
        for name in output.get_names()
    }


def _key(output: Any) -> tuple[str, int]:
    return output.get_node().get_name(), output.get_index()


def _rounded(output: Any) -> Any:
    """Return the output of the FakeQuantize that consumes a tensor, or else the tensor."""
    for target in output.get_target_inputs():
        node = target.get_node()
        if node.get_type_name() == "FakeQuantize" and target.get_index() == 0:
            return node.output(0)
    return output


def _into_sum(output: Any) -> bool:
    """True if a sum of two activations consumes a tensor, rounded or not."""
    waiting = [output]
    while waiting:
        for target in waiting.pop().get_target_inputs():
            node = target.get_node()
            if node.get_type_name() == "Add" and not _adds_constant(node):
                return True
            if node.get_type_name() in ROUNDING:
                waiting.append(node.output(0))
    return False


def _fuses_with_sum(output: Any) -> bool:
    """True if the output of a Conv or matrix product, with its bias, is consumed by a sum and by nothing else."""
    node = output.get_node()
    if node.get_type_name() == "Add" and _adds_constant(node):
        node = node.input_value(0).get_node()
    alone = len(output.get_target_inputs()) == 1
    return alone and node.get_type_name() in WEIGHTED and _into_sum(output)


def _adds_constant(node: Any) -> bool:
    """True if an Add adds a bias, possibly reshaped."""
    for source in node.input_values():
        behind = source.get_node()
        while behind.get_type_name() in ("Convert", "Reshape", "Unsqueeze"):
            behind = behind.input_value(0).get_node()
        if behind.get_type_name() == "Constant":
            return True
    return False
