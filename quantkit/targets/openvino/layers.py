"""The precision that each layer of a compiled model really runs in, and why it is not INT8 where it should be."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from quantkit.core.comparison import LayerTime
from quantkit.qdq.placement import RUINS, SMALL_MATRIX
from quantkit.targets.base import summarize_precisions

# The operations of an IR that are meant to run in INT8, and the layers that the devices make of them.
WEIGHTED = {
    "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul",
}  # fmt: skip
WEIGHTED_LAYERS = {"Convolution", "Deconvolution", "FullyConnected", "MatMul", "GroupConvolution", "Gemm"}
PASSING = {"Convert", "Subtract", "Multiply", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "MaxPool", "Slice",
           "StridedSlice", "Gather", "Split", "VariadicSplit", "Pad"}  # fmt: skip
SHORT_NAMES = {"i8": "int8", "u8": "int8", "s8": "int8", "fp32": "f32", "fp16": "f16"}
PRECISIONS = {"int8", "f32", "f16", "bf16", "i32", "i64", "boolean"}
RT_INFO = ["quantkit", "excluded"]
SUBGRAPH = "Subgraph"
BIAS_ADDED = "/WithoutBiases"  # the frontend's suffix for an operation whose bias is added by a separate Add
# Reasons of layers that the placement leaves in floating point on purpose, so that no warning is due.
SMALL_IMAGE = "rounding so small an image costs more than INT8 gains"
ON_PURPOSE = {SMALL_IMAGE, SMALL_MATRIX}


def mark_excluded(model: Any, excluded: Mapping[str, str]) -> None:
    """Record in an IR the operations that were left in floating point on purpose.

    Args:
        model: The ``openvino.Model``; it is edited.
        excluded: The reason by friendly name.
    """
    if excluded:
        model.set_rt_info(json.dumps(dict(excluded)), RT_INFO)


def meant_int8(model: Any) -> dict[str, str]:
    """Return the operations of an INT8 IR that are meant to run in INT8.

    The result maps each friendly name to the reason why the operation cannot run in INT8, or "" if it can.
    """
    excluded = json.loads(model.get_rt_info(RT_INFO).astype(str)) if model.has_rt_info(RT_INFO) else {}
    meant = {}
    for operation in model.get_ops():
        if operation.get_type_name() not in WEIGHTED:
            continue
        name = operation.get_friendly_name()
        lacking = [port for port in range(2) if not _quantized(operation.input_value(port))]
        if name in excluded:
            meant[name] = excluded[name]
        elif lacking:
            what = [_described(operation.input_value(port)) for port in lacking]
            meant[name] = f"no FakeQuantize on {' and '.join(dict.fromkeys(what))}"
        else:
            meant[name] = ""
    return meant


def bias_adders(model: Any) -> dict[str, str]:
    """Return the names that a layer may have in the runtime, each with the friendly name of its operation.

    For every operation of ``meant_int8``, these are its own name and that of the Add of its bias. The Add of a Gemm
    comes after a factor, alpha.
    """
    found = {}
    for operation in model.get_ops():
        if operation.get_type_name() not in WEIGHTED:
            continue
        consumer = _only_consumer(operation)
        while consumer is not None and consumer.get_type_name() == "Multiply" and _with_constant(consumer):
            consumer = _only_consumer(consumer)
        name = operation.get_friendly_name()
        found[name.removesuffix(BIAS_ADDED)] = name
        if consumer is not None and consumer.get_type_name() == "Add" and _with_constant(consumer):
            found[consumer.get_friendly_name()] = name
    return found


def executed_precision(runtime_model: Any) -> str:
    """Return the precision that the weighted layers run in, such as "int8 52, f32 1"."""
    counts: Counter[str] = Counter()
    for layer in runtime_model.get_ordered_ops():
        info = _info(layer)
        if info.get("layerType") in WEIGHTED_LAYERS:
            counts[_precision(info)] += 1
    return summarize_precisions(counts)


def executed_layers(
    runtime_model: Any, means: Mapping[str, float], meant: Mapping[str, str], adders: Mapping[str, str]
) -> tuple[LayerTime, ...]:
    """Return the layers that run, in execution order.

    Args:
        runtime_model: The compiled model's runtime model.
        means: The mean milliseconds by layer name.
        meant: The result of ``meant_int8``.
        adders: The result of ``bias_adders``.
    """
    found = []
    for layer in runtime_model.get_ordered_ops():
        info = _info(layer)
        name = layer.get_friendly_name()
        if info.get("execTimeMcs", "not_executed") == "not_executed" and not means.get(name):
            continue
        precision = _precision(info)
        parts = [part.partition("/Dequantization")[0] for part in info.get("originalLayersNames", "").split(",")]
        if info.get("layerType") in WEIGHTED_LAYERS:  # an Add that is a separate layer is not a weighted one
            parts = [part if part in meant else adders.get(part, part) for part in parts]
        own = [part for part in parts if part in meant]
        reason = ""
        if own and precision != "int8":
            reason = next((meant[part] for part in own if meant[part]), "") or _no_kernel(info)
        found.append(
            (
                int(info.get("execOrder", "0")),
                LayerTime(
                    name=name.partition("/Dequantization")[0].removesuffix(BIAS_ADDED),
                    precision=precision,
                    ms=means.get(name, 0.0),
                    kind=info.get("layerType", ""),
                    kernel=info.get("primitiveType", ""),
                    meant="int8" if own and reason not in ON_PURPOSE and not reason.startswith(RUINS) else "",
                    reason=reason,
                ),
            )
        )
    return tuple(layer for _, layer in sorted(found, key=lambda item: item[0]))


def _info(layer: Any) -> dict[str, str]:
    info = layer.get_rt_info()
    return {key: info[key].astype(str) for key in info.keys()}  # noqa: SIM118 - an RTMap iterates over values


def _precision(info: Mapping[str, str]) -> str:
    """Return the precision of a layer.

    The kernel's name ends with the precision that it computes in; runtimePrecision only tells how the weights or
    outputs are stored.
    """
    for text in (info.get("primitiveType", "").rpartition("_")[2], info.get("runtimePrecision", "")):
        name = SHORT_NAMES.get(text.lower(), text.lower())
        if name in PRECISIONS:
            return name
    return info.get("runtimePrecision", "")


def _no_kernel(info: Mapping[str, str]) -> str:
    kernel = info.get("primitiveType", "")
    if info.get("layerType") == SUBGRAPH:
        return "fused into one subgraph with its neighbours, of which OpenVINO tells one precision"
    if "dw" in kernel.split("_") or info.get("layerType") == "GroupConvolution":
        return "the device runs this depthwise or grouped convolution in floating point"
    return f"the device has no INT8 kernel for this {info.get('layerType', 'layer')}"


def _only_consumer(node: Any) -> Any:
    targets = list(node.output(0).get_target_inputs())
    return targets[0].get_node() if len(targets) == 1 else None


def _with_constant(node: Any) -> bool:
    """True if one of a node's two inputs is known without running the model."""
    return any(_constant(node.input_value(port)) for port in range(2))


def _constant(output: Any) -> bool:
    waiting, seen = [output.get_node()], set()
    while waiting:
        node = waiting.pop()
        if node.get_type_name() == "Parameter" or node.get_type_name() in WEIGHTED:
            return False
        if (name := node.get_name()) not in seen:  # otherwise a constant would be visited once for each path to it
            seen.add(name)
            waiting += [value.get_node() for value in node.input_values()]
    return True


def _quantized(output: Any) -> bool:
    """True if a value comes from a FakeQuantize or INT8 constants, possibly through operators that pass values on."""
    waiting = output
    while True:
        node = waiting.get_node()
        kind = node.get_type_name()
        if kind == "FakeQuantize":
            return True
        if kind == "Constant":
            return waiting.get_element_type().get_type_name() in ("i8", "u8")
        if kind == "Concat":
            return all(_quantized(source) for source in node.input_values())
        if kind not in PASSING:
            return False
        waiting = node.input_value(0)


def _described(output: Any) -> str:
    node = output.get_node()
    while node.get_type_name() in PASSING:
        node = node.input_value(0).get_node()
    return "its weights" if node.get_type_name() == "Constant" else "its input"
