"""Ranges out of a Q/DQ model, whichever tool placed the pairs: the scales of the QuantizeLinear on activations.

Known to be read: quantkit's own two dialects, onnxruntime's QDQ format, and the exports of NVIDIA's ModelOpt and
pytorch-quantization, whose weights have QuantizeLinear nodes, too.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from quantkit.core.errors import BadInput
from quantkit.core.wording import some
from quantkit.formats.imported import Imported, from_bounds
from quantkit.graph.model_file import external_file_of
from quantkit.qdq.insertion import dequantized_name
from quantkit.runtime.activations import activation_names
from quantkit.targets.tensorrt.qdq.zero_points import LEVELS, STEPS, SUFFIX, shifted

LIMITS = {
    TensorProto.INT8: (-128, 127),
    TensorProto.UINT8: (0, 255),
    TensorProto.INT16: (-32768, 32767),
    TensorProto.UINT16: (0, 65535),
    TensorProto.FLOAT8E4M3FN: (-448, 448),
}
ORT_SUFFIX = "_QuantizeLinear_Input"  # what onnxruntime's quantizer adds to the name of a graph output
SAME_VALUES = {"Cast", "Identity"}
LONGEST_CHAIN = 64  # nodes followed from one name to another; a damaged graph may go in circles


def read_qdq(model: onnx.ModelProto, source: str, folder: Path, known: Container[str] = ()) -> Imported:
    """The range of every tensor that a QuantizeLinear takes with a constant scale; of several, the widest.

    ``folder`` is where external data lies. ``known`` holds the names of the original model's tensors, so that one
    that was renamed or cast on the way finds its own name again. Raises BadInput when the model has no such range.
    """
    graph = _Graph(model.graph, source, folder, known)
    bounds: dict[str, tuple[float, float]] = {}
    two_sided: set[str] = set()
    from_zero = {f"{name}{SUFFIX}": name for name, (own, _) in shifted(model).items() if own == dequantized_name(name)}
    widened: dict[str, None] = {}
    ignored: dict[str, None] = {}
    notes = []
    for node in model.graph.node:
        if node.op_type.startswith("QLinear"):
            raise BadInput(
                f"{source} holds {node.op_type} nodes, whose scales lie inside the operators.",
                "Quantize to the Q/DQ form instead: QuantFormat.QDQ in onnxruntime.",
            )
        if node.op_type != "QuantizeLinear" or len(node.input) < 2 or node.input[0] not in graph.activations:
            continue
        name = graph.original(node)
        read = graph.bounds(node)
        if read is None:
            ignored[name] = None
            continue
        low, high, symmetric = read
        if node.input[0] in from_zero:
            name = from_zero[node.input[0]]
            low, high, symmetric = 0.0, high / LEVELS * STEPS, False
        if not symmetric:
            two_sided.add(name)
        if name in bounds and bounds[name] != (low, high):
            widened[name] = None
            low, high = min(low, bounds[name][0]), max(high, bounds[name][1])
        bounds[name] = (low, high)
    if widened:
        notes.append(f"{source} quantizes a tensor with several scales ({some(list(widened))}); the widest is taken.")
    if graph.per_channel:
        notes.append(
            f"{source} has scales per channel on activations ({some(graph.per_channel)}); the widest is taken."
        )
    if ignored:
        notes.append(f"{source} has scales that are computed, or of an unknown type ({some(list(ignored))}): left out.")
    if not bounds:
        raise BadInput(
            f"{source} is an ONNX model in which no QuantizeLinear takes an activation.",
            "Give a Q/DQ model; quantkit calibrate makes ranges for a floating-point one.",
        )
    return from_bounds("Q/DQ model", bounds, source, frozenset(bounds) - two_sided, notes=tuple(notes))


class _Graph:
    """Finds constants and names in a graph that may be anything."""

    def __init__(self, graph: onnx.GraphProto, source: str, folder: Path, known: Container[str]) -> None:
        self.source = source
        self.folder = folder
        self.known = known
        self.per_channel: list[str] = []
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.producers = {name: node for node in graph.node for name in node.output if name}
        inputs = {value.name for value in graph.input} - set(self.initializers)
        self.activations = inputs | set(activation_names(graph))
        self.dequantized = {n.input[0]: n.output[0] for n in graph.node if n.op_type == "DequantizeLinear" and n.input}

    def original(self, quantize: onnx.NodeProto) -> str:
        """The name, in the model before it was quantized, of the tensor that a QuantizeLinear takes."""
        unpaired = self._followed(quantize.input[0], self._before_pair)
        copied = self._followed(quantize.input[0], self._before_copy)
        candidates = [name.removesuffix(ORT_SUFFIX) for name in unpaired + copied]
        candidates.append(self.dequantized.get(quantize.output[0], ""))
        return next((name for name in candidates if name in self.known), unpaired[-1].removesuffix(ORT_SUFFIX))

    def bounds(self, quantize: onnx.NodeProto) -> tuple[float, float, bool] | None:
        """Low, high, and whether the scheme is symmetric; None where the scale is no constant or the type unknown."""
        has_zero_point = len(quantize.input) > 2 and quantize.input[2] != ""
        scale = self._constant(quantize.input[1])
        zero_point = self._constant(quantize.input[2]) if has_zero_point else None
        if scale is None or (has_zero_point and zero_point is None):
            return None
        stated = next((a.i for a in quantize.attribute if a.name == "output_dtype" and a.i), TensorProto.UINT8)
        kind = zero_point.data_type if zero_point is not None else stated
        if kind not in LIMITS:
            return None
        least, most = LIMITS[kind]
        scales = _array(scale)
        zeros = np.zeros(1) if zero_point is None else _array(zero_point)
        if scales.size == 0 or zeros.size not in (1, scales.size):
            return None
        if not np.isfinite(scales).all() or (scales < 0).any():
            raise BadInput(
                f"The scale of {quantize.input[0]!r} in {self.source} is {scales.min():.9g}.",
                "A scale is finite and above 0: quantize the model again.",
            )
        if scales.size > 1:
            self.per_channel.append(quantize.input[0])
        if least < 0 and not zeros.any():
            return float((-most * scales).min()), float((most * scales).max()), True
        return float(((least - zeros) * scales).min()), float(((most - zeros) * scales).max()), False

    def _followed(self, name: str, step: Callable[[str], str]) -> list[str]:
        names = [name]
        while len(names) < LONGEST_CHAIN and (before := step(names[-1])):
            names.append(before)
        return names

    def _before_pair(self, name: str) -> str:
        """What the pair that made this tensor took; empty where none did."""
        dequantize = self.producers.get(name)
        if dequantize is None or dequantize.op_type != "DequantizeLinear":
            return ""
        quantize = self.producers.get(dequantize.input[0])
        return quantize.input[0] if quantize is not None and quantize.op_type == "QuantizeLinear" else ""

    def _before_copy(self, name: str) -> str:
        """The same through nodes that change no value."""
        return self._before_cast(name) or self._before_pair(name)

    def _constant(self, name: str) -> onnx.TensorProto | None:
        """A constant, whether an initializer or a node, perhaps cast; None where it is computed."""
        name = self._followed(name, self._before_cast)[-1]
        tensor = self.initializers.get(name)
        node = self.producers.get(name)
        if node is not None and node.op_type == "Constant":
            value = next(iter(node.attribute), None)
            if value is not None and value.name in ("value_float", "value_floats"):
                return numpy_helper.from_array(np.array(onnx.helper.get_attribute_value(value), np.float32))
            tensor = value.t if value is not None and value.name == "value" else None
        if tensor is not None and uses_external_data(tensor):
            external_file_of(tensor, self.folder)  # refuses what points elsewhere
            load_external_data_for_tensor(tensor, str(self.folder))
        return tensor

    def _before_cast(self, name: str) -> str:
        node = self.producers.get(name)
        return node.input[0] if node is not None and node.op_type in SAME_VALUES and node.input else ""


def _array(tensor: onnx.TensorProto) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = numpy_helper.to_array(tensor).astype(np.float64).reshape(-1)
    return values
