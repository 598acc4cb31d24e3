"""Ranges for the tensors that TensorRT's parser makes itself, from those that the ONNX model names.

Implicit quantization wants a range for every floating-point tensor of the network. The parser adds some that no
calibration on the ONNX model sees: a Gemm becomes constants, a matrix product, a shuffle and a sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Layers whose outputs hold nothing but values of their first input, or a zero.
KEEPS_VALUES = frozenset(
    {"SHUFFLE", "CAST", "IDENTITY", "SLICE", "GATHER", "PADDING", "RESIZE", "SQUEEZE", "UNSQUEEZE", "ASSERTION"}
)
BOUNDED = {"SOFTMAX": 1.0}  # the largest output of these


@dataclass(frozen=True)
class ParsedLayer:
    """One layer of a parsed network: TensorRT's type and operation, and the floating-point tensors it takes and makes.

    ``operation`` is that of an element-wise, pooling or activation layer ("SUM", "MAX", "RELU"), else empty.
    """

    name: str
    kind: str
    operation: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def derived_ranges(
    layers: Sequence[ParsedLayer], known: Mapping[str, float], constants: Mapping[str, float]
) -> dict[str, float]:
    """amax of every tensor that follows from ``known`` (amax by name) and from ``constants`` (their max|x|).

    The known ones are among them, unchanged. What follows from nothing is left out.
    """
    amax = dict(constants) | dict(known)
    found = -1
    while found != len(amax):  # forwards, and backwards again, until nothing more follows
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
    """The output's amax, from the inputs'."""
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
    """An input's amax, from the output's: a shuffle moves all its values; a sum's part is the sum less the rest."""
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
