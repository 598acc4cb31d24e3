"""What the layers of an IR put out, as more outputs of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from quantkit.core.errors import TargetRefuses
from quantkit.model.qdq_pairs import dequantized_name
from quantkit.targets.base import failed_on
from quantkit.targets.openvino import library

DEVICE = "CPU"  # where the values are computed, whatever device is measured


class OpenVinoOutputs:
    """Floating-point tensors of the ONNX model that an IR was made from, computed on the CPU device.

    OpenVINO's ONNX frontend keeps the names of tensors. One that is rounded is taken behind that. Raises TargetRefuses
    for an IR that cannot be read, and when it is run for one that does not compile with more outputs.
    """

    def __init__(self, path: Path, tensors: Collection[str]) -> None:
        self._path = path
        try:
            self._model = library.core().read_model(str(path))
        except RuntimeError as error:
            raise TargetRefuses(f"OpenVINO cannot read {path} ({_last_line(error)}).", "Export it again.") from error
        outputs = {
            name: output
            for operation in self._model.get_ops()
            for output in operation.outputs()
            if output.get_element_type().is_real()
            for name in output.get_names()
        }
        # Of a model with Q/DQ pairs, what DequantizeLinear puts out keeps its name, and FakeQuantize puts out integers.
        self._tensors = {
            name: outputs.get(dequantized_name(name)) or _rounded(outputs[name]) for name in tensors if name in outputs
        }
        self._request: Any = None
        self._shapes: dict[str, tuple[int, ...]] = {}
        try:
            self._positions = self._add_outputs()
        except RuntimeError as error:
            raise self._refusal(error) from error

    def _add_outputs(self) -> dict[str, int]:
        """The place of every tensor among the model's outputs."""
        own = [result.get_node().input_value(0) for result in self._model.outputs]
        places = {_key(output): place for place, output in enumerate(own)}
        positions = {}
        for name, output in self._tensors.items():
            key = _key(output)
            if key not in places:
                places[key] = len(self._model.outputs)
                self._model.add_outputs(output)
            positions[name] = places[key]
        return positions

    @property
    def names(self) -> tuple[str, ...]:
        """The wanted tensors that are here."""
        return tuple(self._positions)

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """One batch; the tensors by name, until the next batch. Raises BadInput when it fails."""
        shapes = {name: array.shape for name, array in inputs.items()}
        if shapes != self._shapes:
            self._request = self._compiled(shapes)
            self._shapes = shapes
        try:
            self._request.infer(dict(inputs), share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            raise failed_on(inputs, "OpenVINO", error) from error
        return {name: self._request.get_output_tensor(place).data for name, place in self._positions.items()}

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
            f"OpenVINO cannot compile {self._path} with its layers' outputs ({_last_line(error)}).",
            "Nothing else depends on it.",
        )


def _key(output: Any) -> tuple[str, int]:
    return output.get_node().get_name(), output.get_index()


def _rounded(output: Any) -> Any:
    """The output of the FakeQuantize that takes a tensor, or the tensor's own."""
    for taker in output.get_target_inputs():
        node = taker.get_node()
        if node.get_type_name() == "FakeQuantize" and taker.get_index() == 0:
            return node.output(0)
    return output


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:300]
