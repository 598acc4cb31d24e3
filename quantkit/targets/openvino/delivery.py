"""Makes sure that a model with dynamic shapes computes what it computes with fixed shapes.

OpenVINO's CPU device compiles the two in different ways. With dynamic shapes, 2026.4.1 scales the output of an INT8
layer twice if the layer has several consumers of which one rounds it again: zeros, where fixed shapes are right.
``compare`` measures fixed shapes by default, but the IR that is delivered is dynamic, so both are run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.decibels import decibels, energy, noise_energy
from quantkit.core.ranges import TensorRange
from quantkit.targets.openvino import library
from quantkit.targets.openvino.layers import WEIGHTED

DEVICE = "CPU"
SAME_DB = 15.0  # two ways to compile INT8 differ by single steps of rounding, which is far less
BATCH, SIZE = 2, 32  # of a dynamic first dimension, and of any other
PLAIN = {"INFERENCE_PRECISION_HINT": "f32"}


def delivered(model: Any, ranges: Mapping[str, TensorRange]) -> tuple[Any, tuple[str, ...]]:
    """Return a model that computes the same with dynamic and with fixed shapes, and notes on what was done for that.

    Args:
        model: The ``openvino.Model``; it may be edited.
        ranges: The ranges of its inputs, from which values are drawn.

    Returns:
        The model, if need be with its layers kept apart, or with a batch of one; and notes.
    """
    if not model.is_dynamic() or not differs(model, ranges):
        return model, ()
    keep_layers_apart(model)
    if not differs(model, ranges):
        return model, ()
    for value in model.inputs:
        shape = value.get_partial_shape()
        if shape.rank.is_static and len(shape) and shape[0].is_dynamic:
            shape[0] = 1
        model.reshape({value.any_name: shape})
    return model, (
        "The batch is fixed at 1, because OpenVINO's CPU device computes this model wrongly with a dynamic one.",
    )


def differs(model: Any, ranges: Mapping[str, TensorRange]) -> bool:
    """True if dynamic and fixed shapes lead to different outputs for random inputs; False if it cannot be told."""
    inputs = _random_inputs(model, ranges)
    if inputs is None:
        return False
    try:
        fixed = model.clone()
        fixed.reshape({name: list(array.shape) for name, array in inputs.items()})
        return not same(_outputs(model, inputs), _outputs(fixed, inputs))
    except RuntimeError:  # sizes of dynamic dimensions that the model does not take
        return False


def same(one: list[npt.NDArray[Any]], other: list[npt.NDArray[Any]]) -> bool:
    """True if floating-point outputs of one shape are about equal."""
    for expected, found in zip(other, one, strict=True):
        if expected.dtype.kind != "f" or expected.shape != found.shape:
            continue
        ratio = decibels(energy(expected), noise_energy(expected, found))
        if ratio is not None and ratio < SAME_DB and np.isfinite(expected).all():
            return False
    return True


def keep_layers_apart(model: Any) -> None:
    """Put an operator that changes nothing behind each layer with several consumers, so that it is scaled there."""
    from openvino import opset13

    for node in model.get_ops():
        if node.get_type_name() not in WEIGHTED:
            continue
        output = _with_bias(node.output(0))
        targets = list(output.get_target_inputs())
        if len(targets) < 2 or not output.get_element_type().is_real():
            continue
        names = output.get_names()
        apart = opset13.maximum(output, np.finfo(np.float32).min).output(0)
        for target in targets:
            target.replace_source_output(apart)
        output.set_names(set())
        apart.set_names(names)
    model.validate_nodes_and_infer_types()


def _with_bias(output: Any) -> Any:
    """Return the output of the Add of a bias behind a layer, or else the layer's own."""
    targets = list(output.get_target_inputs())
    node = targets[0].get_node() if len(targets) == 1 else None
    if node is None or node.get_type_name() != "Add":
        return output
    kinds = {value.get_node().get_type_name() for value in node.input_values()}
    return node.output(0) if kinds & {"Constant", "Convert", "Reshape"} else output


def _outputs(model: Any, inputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    request = library.core().compile_model(model, DEVICE, PLAIN).create_infer_request()
    request.infer(dict(inputs))
    return [np.array(request.get_output_tensor(place).data) for place in range(len(model.outputs))]


def _random_inputs(model: Any, ranges: Mapping[str, TensorRange]) -> dict[str, npt.NDArray[Any]] | None:
    """Draw inputs from their ranges, the same each time; None if a shape is unknown."""
    random = np.random.default_rng(0)
    inputs: dict[str, npt.NDArray[Any]] = {}
    for value in model.inputs:
        partial = value.get_partial_shape()
        if partial.rank.is_dynamic:
            return None
        shape = [d.get_length() if d.is_static else SIZE if i else BATCH for i, d in enumerate(partial)]
        dtype = np.dtype(value.get_element_type().to_dtype())
        known = next((ranges[name] for name in value.get_names() if name in ranges), None)
        if dtype.kind != "f":
            inputs[value.any_name] = np.ones(shape, dtype)
        else:
            low, high = (known.low, known.high) if known else (-1.0, 1.0)
            inputs[value.any_name] = random.uniform(low, high, shape).astype(dtype)
    return inputs
