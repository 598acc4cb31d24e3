"""Implicit quantization, for TensorRT 8.6 to 10: dynamic ranges on tensors, precisions on layers.

TensorRT 11 removed all of it. No other file uses what 11 lacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quantkit.core.wildcards import matches
from quantkit.targets.tensorrt.engine.derived_ranges import ParsedLayer, derived_ranges
from quantkit.targets.tensorrt.engine.libraries import TENSORRT as library


def set_precisions(config: Any, half: bool, int8: bool) -> None:
    """Set the builder flags for the precisions that TensorRT may choose from besides FP32."""
    flags = library.tensorrt().BuilderFlag
    if half:
        config.set_flag(flags.FP16)
    if int8:
        config.set_flag(flags.INT8)


def set_ranges(network: Any, amax: Mapping[str, float]) -> list[str]:
    """Set the dynamic range of every floating-point tensor with a known range, or one that follows from others.

    Args:
        network: The parsed network.
        amax: The known amax by tensor.

    Returns:
        The names of tensors without a range. TensorRT runs the layers around them in floating point.
    """
    tensors = _tensors(network)
    constants = {name: value for layer in _layers(network) for name, value in _constant(layer).items()}
    amax = derived_ranges([_described(layer) for layer in _layers(network)], amax, constants)
    without = []
    for name, tensor in tensors.items():
        if name in amax:
            tensor.set_dynamic_range(-amax[name], amax[name])
        else:
            without.append(name)
    return without


def keep_in_floating_point(network: Any, config: Any, exclude: Sequence[str]) -> list[str]:
    """Forbid INT8 for layers.

    Args:
        network: The parsed network.
        config: The builder's configuration.
        exclude: Wildcards; INT8 is forbidden for layers whose node or output matches one.

    Returns:
        The names of these layers.
    """
    trt = library.tensorrt()
    kept = []
    for layer in _layers(network):
        outputs = [layer.get_output(i) for i in range(layer.num_outputs)]
        names = (layer.name, *(tensor.name for tensor in outputs))
        if not any(matches(name, exclude) for name in names):
            continue
        if layer.type in (trt.LayerType.CONSTANT, trt.LayerType.SHAPE) or not any(map(_is_float, outputs)):
            continue
        layer.precision = trt.float16
        for position, tensor in enumerate(outputs):
            if _is_float(tensor):
                layer.set_output_type(position, trt.float32 if tensor.is_network_output else trt.float16)
        kept.append(layer.name)
    if kept:
        config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    return kept


def _layers(network: Any) -> list[Any]:
    return [network.get_layer(i) for i in range(network.num_layers)]


def _tensors(network: Any) -> dict[str, Any]:
    """Return every floating-point tensor by name, inputs first."""
    tensors = [network.get_input(i) for i in range(network.num_inputs)]
    for layer in _layers(network):
        tensors += [layer.get_output(i) for i in range(layer.num_outputs)]
    return {tensor.name: tensor for tensor in tensors if _is_float(tensor)}


def _is_float(tensor: Any) -> bool:
    trt = library.tensorrt()
    return tensor is not None and tensor.dtype in (trt.float32, trt.float16)


def _described(layer: Any) -> ParsedLayer:
    inputs = [layer.get_input(i) for i in range(layer.num_inputs)]
    outputs = [layer.get_output(i) for i in range(layer.num_outputs)]
    return ParsedLayer(
        layer.name,
        layer.type.name,
        _operation(layer),
        tuple(tensor.name for tensor in inputs if _is_float(tensor)),
        tuple(tensor.name for tensor in outputs if _is_float(tensor)),
    )


def _operation(layer: Any) -> str:
    """Return the operation of an element-wise, pooling or activation layer, such as "SUM", "MAX", "RELU"."""
    trt = library.tensorrt()
    kinds = {
        trt.LayerType.ELEMENTWISE: (trt.IElementWiseLayer, "op"),
        trt.LayerType.POOLING: (trt.IPoolingLayer, "type"),
        trt.LayerType.ACTIVATION: (trt.IActivationLayer, "type"),
    }
    if layer.type not in kinds:
        return ""
    own, attribute = kinds[layer.type]
    generic = layer.__class__
    layer.__class__ = own  # the binding's way to a layer's own attributes
    try:
        return str(getattr(layer, attribute).name)
    finally:
        layer.__class__ = generic


def _constant(layer: Any) -> dict[str, float]:
    """Return the output of a constant layer with its max|x|; empty for other layers, and for a constant of zeros."""
    trt = library.tensorrt()
    if layer.type != trt.LayerType.CONSTANT or not _is_float(layer.get_output(0)):
        return {}
    layer.__class__ = trt.IConstantLayer
    import numpy as np

    values = np.abs(np.asarray(layer.weights, dtype=np.float32))
    largest = float(values.max()) if values.size else 0.0
    return {layer.get_output(0).name: largest} if largest > 0 else {}
