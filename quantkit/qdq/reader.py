"""Reads ranges out of a Q/DQ model from any tool: the scales of the QuantizeLinear nodes on activations.

These are known to be read: quantkit's own dialects, onnxruntime's QDQ format, and the exports of NVIDIA's ModelOpt and
pytorch-quantization, which have QuantizeLinear nodes on weights, too.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from quantkit.core.errors import BadModel
from quantkit.core.ranges import LEVELS, STEPS
from quantkit.core.wording import some
from quantkit.formats.imported import Imported, from_bounds
from quantkit.graph.graph import Graph, activation_names, attribute, operand, result
from quantkit.graph.model_file import external_file_of
from quantkit.graph.operators import DEQUANTIZE, QUANTIZE
from quantkit.qdq.metadata import FROM_ZERO, UNROUNDED, dequantized_name, shifted

LIMITS = {
    TensorProto.INT8: (-128, 127),
    TensorProto.UINT8: (0, 255),
    TensorProto.INT16: (-32768, 32767),
    TensorProto.UINT16: (0, 65535),
    TensorProto.FLOAT8E4M3FN: (-448, 448),
}
QDQ_MODEL = "Q/DQ model"  # the form of what is read from one
SAME_VALUES = {"Cast", "Identity"}
LONGEST_CHAIN = 64  # names in a chain that is followed; a damaged graph may have cycles


def read_qdq(model: onnx.ModelProto, source: str, folder: Path, known: Container[str] = ()) -> Imported:
    """Read the range of every tensor that a QuantizeLinear quantizes with a constant scale.

    Args:
        model: The Q/DQ model, without external data.
        source: The model's name in messages.
        folder: The folder of external data.
        known: The names of the original model's tensors, so that a tensor that was renamed or cast gets its own name
            back.

    Returns:
        The ranges. A tensor that is quantized with several scales has the widest range.

    Raises:
        BadInput: The model has no such range, a scale is not finite or is negative, or its scales are inside
            operators (QLinear...).
    """
    reading = _Reading(model, source, folder, known)
    for node in reading.graph.nodes:
        if node.op_type.startswith("QLinear"):
            raise BadModel(
                f"{source} holds {node.op_type} nodes, whose scales lie inside the operators.",
                "Quantize to the Q/DQ form instead: QuantFormat.QDQ in onnxruntime.",
            )
        if node.op_type == QUANTIZE and len(node.input) > 1 and node.input[0] in reading.activations:
            reading.add(node)
    bounds = reading.bounds
    if not bounds:
        raise BadModel(
            f"{source} is an ONNX model in which no QuantizeLinear takes an activation.",
            "Give a Q/DQ model; quantkit calibrate makes ranges for a floating-point one.",
        )
    return from_bounds(QDQ_MODEL, bounds, source, frozenset(bounds) - reading.two_sided, notes=reading.notes())


class _Reading:
    """The bounds read so far, and the names and constants of the graph, which may come from any tool."""

    def __init__(self, model: onnx.ModelProto, source: str, folder: Path, known: Container[str]) -> None:
        self.graph = Graph(model.graph)
        self.activations = {*self.graph.inputs, *activation_names(self.graph)}
        self.bounds: dict[str, tuple[float, float]] = {}
        self.two_sided: set[str] = set()
        self._source, self._folder, self._known = source, folder, known
        offsets = shifted(model).items()
        self._from_zero = {f"{name}{FROM_ZERO}": name for name, (own, _) in offsets if own == dequantized_name(name)}
        # Names of tensors with scales per channel, with several scales, and with scales that cannot be read, in order.
        self._per_channel: dict[str, None] = {}
        self._widened: dict[str, None] = {}
        self._ignored: dict[str, None] = {}

    def add(self, quantize: onnx.NodeProto) -> None:
        """Add the range of the tensor that a QuantizeLinear quantizes."""
        name = self._original(quantize)
        read = self._bounds_of(quantize)
        if read is None:
            self._ignored[name] = None
            return
        low, high, symmetric = read
        if quantize.input[0] in self._from_zero:
            name = self._from_zero[quantize.input[0]]
            low, high, symmetric = 0.0, high / LEVELS * STEPS, False
        if not symmetric:
            self.two_sided.add(name)
        if name in self.bounds and self.bounds[name] != (low, high):
            self._widened[name] = None
            low, high = min(low, self.bounds[name][0]), max(high, self.bounds[name][1])
        self.bounds[name] = (low, high)

    def notes(self) -> tuple[str, ...]:
        """Return a sentence for each kind of tensor that was left out or got its widest range."""
        found = (
            (self._widened, "quantizes a tensor with several scales ({}); the widest is taken."),
            (self._per_channel, "has scales per channel on activations ({}); the widest is taken."),
            (self._ignored, "has scales that are computed, or of an unknown type ({}): left out."),
        )
        return tuple(f"{self._source} {text.format(some(list(names)))}" for names, text in found if names)

    def _original(self, quantize: onnx.NodeProto) -> str:
        """Return the name, in the original model, of the tensor that a QuantizeLinear quantizes."""
        unpaired = _followed(quantize.input[0], self._before_pair)
        copied = _followed(quantize.input[0], self._before_copy)
        candidates = [name.removesuffix(UNROUNDED) for name in unpaired + copied]
        users = self.graph.consumers(result(quantize))
        candidates += [result(user) for user, position in users if user.op_type == DEQUANTIZE and position == 0]
        return next((name for name in candidates if name in self._known), unpaired[-1].removesuffix(UNROUNDED))

    def _bounds_of(self, quantize: onnx.NodeProto) -> tuple[float, float, bool] | None:
        """Return low, high, and True for a symmetric scheme; None if the scale is not constant or of unknown type."""
        has_zero_point = operand(quantize, 2) != ""
        scale = self._constant(quantize.input[1])
        zero_point = self._constant(quantize.input[2]) if has_zero_point else None
        if scale is None or (has_zero_point and zero_point is None):
            return None
        stated = attribute(quantize, "output_dtype", 0) or TensorProto.UINT8
        kind = zero_point.data_type if zero_point is not None else stated
        if kind not in LIMITS:
            return None
        least, most = LIMITS[kind]
        scales = _numbers(scale)
        zeros = np.zeros(1) if zero_point is None else _numbers(zero_point)
        if scales.size == 0 or zeros.size not in (1, scales.size):
            return None
        if not np.isfinite(scales).all() or (scales < 0).any():
            raise BadModel(
                f"The scale of {quantize.input[0]!r} in {self._source} is {scales.min():.9g}.",
                "A scale is finite and above 0: quantize the model again.",
            )
        if scales.size > 1:
            self._per_channel[quantize.input[0]] = None
        if least < 0 and not zeros.any():
            return float((-most * scales).min()), float((most * scales).max()), True
        return float(((least - zeros) * scales).min()), float(((most - zeros) * scales).max()), False

    def _before_pair(self, name: str) -> str:
        """Return the tensor that was quantized and dequantized to this one; empty if there is none."""
        dequantize = self.graph.producer(name)
        if dequantize is None or dequantize.op_type != DEQUANTIZE:
            return ""
        quantize = self.graph.producer(operand(dequantize, 0))
        return operand(quantize, 0) if quantize is not None and quantize.op_type == QUANTIZE else ""

    def _before_copy(self, name: str) -> str:
        """Return the tensor before a pair, a Cast or an Identity; empty if there is none."""
        return self._before_cast(name) or self._before_pair(name)

    def _before_cast(self, name: str) -> str:
        node = self.graph.producer(name)
        return operand(node, 0) if node is not None and node.op_type in SAME_VALUES else ""

    def _constant(self, name: str) -> onnx.TensorProto | None:
        """Return a constant, with its data, possibly followed by Casts; None if the tensor is computed."""
        tensor = self.graph.constants.get(_followed(name, self._before_cast)[-1])
        if tensor is not None and uses_external_data(tensor):
            external_file_of(tensor, self._folder)  # refuses files outside the folder
            load_external_data_for_tensor(tensor, str(self._folder))
        return tensor


def _followed(name: str, step: Callable[[str], str]) -> list[str]:
    """Return a name, followed by the names that repeated calls of ``step`` lead to."""
    names = [name]
    while len(names) < LONGEST_CHAIN and (before := step(names[-1])):
        names.append(before)
    return names


def _numbers(tensor: onnx.TensorProto) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = numpy_helper.to_array(tensor).astype(np.float64).reshape(-1)
    return values
