"""Ranges for the tensors that TensorRT's parser adds, derived from those that the ONNX model names.

Implicit quantization needs a range for every floating-point tensor of the network. The parser adds tensors that no
calibration on the ONNX model sees: a Gemm becomes constants, a matrix product, a shuffle and a sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Layers whose outputs hold only values of their first input, or zeros.
KEEPS_VALUES = frozenset(
    {"SHUFFLE", "CAST", "IDENTITY", "SLICE", "GATHER", "PADDING", "RESIZE", "SQUEEZE", "UNSQUEEZE", "ASSERTION"}
)
BOUNDED = {"SOFTMAX": 1.0}  # the largest output of each of these layers


@dataclass(frozen=True)
class ParsedLayer:
    """A layer of a parsed network.

    Attributes:
        name: The name.
        kind: TensorRT's layer type.
        operation: The operation of an element-wise, pooling or activation layer ("SUM", "MAX", "RELU"), else empty.
        inputs: The floating-point inputs.
        outputs: The floating-point outputs.
    """

    name: str
    kind: str
    operation: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def derived_ranges(
    layers: Sequence[ParsedLayer], known: Mapping[str, float], constants: Mapping[str, float]
) -> dict[str, float]:
    """Derive ranges from known ones.

    Args:
        layers: The layers of the network.
        known: The known amax by tensor.
        constants: The max|x| by constant.

    Returns:
        The amax of every tensor for which it follows from these, including the known ones, unchanged.
    """
    amax = dict(constants) | dict(known)
    found = -1
    while found != len(amax):  # forwards and backwards, until nothing more follows
        found = len(amax)
        for layer in layers:
            for name in layer.outputs:
                value = _forwards(layer, amax)
                if name not in amax and value is not None:
                    amax[name] = value
        for layer in reversed(layers):
            for name in layer.inputs:
                value = _backwards(layer, name, amax)
                if name not in amax and value is not None:
                    amax[name] = value
    return amax


def _forwards(layer: ParsedLayer, amax: Mapping[str, float]) -> float | None:
    """Return the amax of a layer's output, from those of its inputs; None if it does not follow."""
    if layer.kind in BOUNDED:
        return BOUNDED[layer.kind]
    inputs = [amax[name] for name in layer.inputs if name in amax]
    if layer.kind == "ACTIVATION" and layer.operation in ("SIGMOID", "TANH"):
        return 1.0
    if not inputs:
        return None
    if layer.kind in KEEPS_VALUES or (layer.kind, layer.operation) in (("POOLING", "MAX"), ("ACTIVATION", "RELU")):
        return amax.get(layer.inputs[0])
    complete = len(inputs) == len(layer.inputs)
    if complete and (layer.kind in ("CONCATENATION", "SELECT") or layer.operation in ("MAX", "MIN")):
        return max(inputs)
    if complete and layer.kind == "ELEMENTWISE" and layer.operation in ("SUM", "SUB"):
        return sum(inputs)
    if complete and layer.kind == "ELEMENTWISE" and layer.operation == "PROD" and len(inputs) == 2:
        return inputs[0] * inputs[1]
    return None


def _backwards(layer: ParsedLayer, name: str, amax: Mapping[str, float]) -> float | None:
    """Return the amax of an input, from that of the output; None if it does not follow.

    A shuffle moves all its values; the range of a sum's part is bounded by those of the sum and of the other parts.
    """
    output = amax.get(layer.outputs[0]) if layer.outputs else None
    if output is None:
        return None
    if layer.kind in ("SHUFFLE", "CAST", "IDENTITY", "CONCATENATION"):
        return output
    others = [amax.get(other) for other in layer.inputs if other != name]
    if layer.kind == "ELEMENTWISE" and layer.operation in ("SUM", "SUB"):
        rest = [value for value in others if value is not None]
        return output + sum(rest) if len(rest) == len(others) else None
    return None
