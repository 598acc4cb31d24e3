"""Rules about single layers: which layers run in INT8, and for which INT8 does not pay."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from quantkit.graph.graph import attribute, label, operand
from quantkit.graph.operators import (
    ACTIVATIONS,
    AVERAGE_POOLS,
    DEQUANTIZE,
    MATRIX_PRODUCTS,
    POINTWISE,
    QUANTIZE,
    WEIGHTED,
)
from quantkit.qdq.attention import scores_of
from quantkit.qdq.placement import SMALLEST_MATRIX
from quantkit.targets.tensorrt.lint.finding import Finding
from quantkit.targets.tensorrt.lint.fusions import is_fused, residual_inputs
from quantkit.targets.tensorrt.lint.view import View, passes_values_on
from quantkit.targets.tensorrt.qdq.kernel_shapes import lacks_kernel_shape

FEWEST_CHANNELS = 16
NORMALIZATIONS = {"GroupNormalization", "InstanceNormalization", "LayerNormalization", "LogSoftmax", "Softmax"}
INSIDE_NORMALIZATION = {"Exp", "Pow", "Reciprocal", "Sqrt"}
NO_LAYERS = {QUANTIZE, DEQUANTIZE, "BatchNormalization", "Shape", "Size"}
ELSEWHERE = WEIGHTED | NORMALIZATIONS | INSIDE_NORMALIZATION | NO_LAYERS


def layers(view: View) -> Iterator[Finding]:
    """Yield the findings of all rules of this file."""
    for node in view.graph.nodes:
        if node.op_type in WEIGHTED:
            yield from _half_quantized(view, node)
            yield from _split_attention(view, node)
            yield from _no_kernel_shape(view, node)
            if view.in_int8(node):
                yield from _too_small(view, node)
                yield from _depthwise(view, node)
        elif node.op_type == "Concat":
            yield from _concat(view, node)
        if in_normalization(view, node):
            yield from _normalization(view, node)
        elif node.op_type not in ELSEWHERE and not passes_values_on(node):
            yield from _one_sided(view, node)


def _half_quantized(view: View, node: onnx.NodeProto) -> Iterator[Finding]:
    operands = operand(node, 0), operand(node, 1)
    pairs = [view.dequantize(name) for name in operands]
    if (pairs[0] is None) == (pairs[1] is None):
        return
    missing = operands[0] if pairs[0] is None else operands[1]
    present = next(pair for pair in pairs if pair is not None)
    if pairs[1] is None and _closes_a_layer(view, operands[0]):
        return
    what = (
        f"{node.op_type} {label(node)!r} takes one operand through {label(present)!r}, but {missing!r} in floating "
        "point, and so it runs."
    )
    yield Finding("half-quantized", (label(node), label(present)), what)


def _split_attention(view: View, node: onnx.NodeProto) -> Iterator[Finding]:
    """Find attentions with one product in INT8: see ``targets/tensorrt/qdq/attention.py`` for what was seen of them."""
    if node.op_type not in MATRIX_PRODUCTS:
        return
    softmax = view.maker(view.unpaired(operand(node, 0)))
    if softmax is None or softmax.op_type != "Softmax":
        return
    for scores in scores_of(view.graph, softmax):
        weighted = any(view.unpaired(name) in view.constants for name in scores.input[:2])
        if not weighted and view.in_int8(scores) != view.in_int8(node):
            pair = [f"{label(own)!r} in {'INT8' if view.in_int8(own) else 'floating point'}" for own in (scores, node)]
            what = f"An attention has its product {pair[0]} and {pair[1]}: TensorRT does not fuse it."
            yield Finding("split-attention", (label(node), label(scores)), what)


def _no_kernel_shape(view: View, node: onnx.NodeProto) -> Iterator[Finding]:
    if lacks_kernel_shape(node) and view.dequantize(operand(node, 1)) is not None:
        what = f"{node.op_type} {label(node)!r} states no kernel_shape, so that TensorRT 8.6 does not parse it."
        yield Finding("no-kernel-shape", (label(node),), what)


def _closes_a_layer(view: View, tensor: str) -> bool:
    """True if a tensor's pair belongs to a layer before it that runs in INT8 itself, such as a pool."""
    maker = view.graph.producer(view.unpaired(tensor))
    if maker is None or maker.op_type in ELSEWHERE:
        return False
    inputs = view.activations(maker)
    return bool(inputs) and (is_fused(view, maker) or all(view.dequantize(name) is not None for name in inputs))


def _too_small(view: View, node: onnx.NodeProto) -> Iterator[Finding]:
    dims = view.dims(operand(node, 1))
    if dims is None or len(dims) < 2:
        return
    if node.op_type in MATRIX_PRODUCTS:
        if min(dims[-2:]) < SMALLEST_MATRIX:
            what = f"{node.op_type} {label(node)!r} is in INT8 with a weight of only {dims[-2]} x {dims[-1]}."
            yield Finding("small-matrix", (label(node),), what)
        return
    group = attribute(node, "group", 1)
    first, second = dims[0], dims[1] * group
    inputs, outputs = (second, first) if node.op_type == "Conv" else (first, second)
    if not 1 < group == inputs and min(inputs, outputs) < FEWEST_CHANNELS:
        what = f"{node.op_type} {label(node)!r} is in INT8 with {inputs} input and {outputs} output channels."
        yield Finding("few-channels", (label(node),), what)


def _depthwise(view: View, node: onnx.NodeProto) -> Iterator[Finding]:
    """Find depthwise Convs in INT8 whose output, including its activation, is not INT8: they have no INT8 kernels.

    This was measured with TensorRT 8.6 on an H200: EfficientNet-B4 before rule 8 of ``qdq/dialect.py``.
    """
    dims = view.dims(operand(node, 1))
    if node.op_type != "Conv" or dims is None or not 1 < attribute(node, "group", 1) == dims[0]:
        return
    output = view.activated(node)
    users = view.users(output)
    floating = [user for user in users if user.op_type not in (QUANTIZE, "Add")]
    if floating or not users:
        reads = f"{floating[0].op_type} {label(floating[0])!r} takes" if floating else "the model outputs"
        what = (
            f"Depthwise Conv {label(node)!r} is in INT8, but {reads} {output!r} in floating point: TensorRT 8.6 "
            "dequantizes its weight each time, and runs it in floating point."
        )
        yield Finding("depthwise-to-float", (label(node), *map(label, floating[:1])), what)


def _concat(view: View, node: onnx.NodeProto) -> Iterator[Finding]:
    pairs = [pair for name in view.activations(node) if (pair := view.dequantize(name)) is not None]
    after = [user for user in view.users_of_outputs(node) if user.op_type == QUANTIZE]
    ends = [*pairs, *after]
    if pairs and any(not view.same_scale(ends[0], other) for other in ends[1:]):
        what = f"Concat {label(node)!r} joins tensors of different scales, so that some are quantized again."
        yield Finding("concat-scales", (label(node), *map(label, ends)), what)


def in_normalization(view: View, node: onnx.NodeProto) -> bool:
    """True if a node is a Softmax or normalization, or a part of a decomposed LayerNorm or softmax."""
    if node.op_type in NORMALIZATIONS | INSIDE_NORMALIZATION:
        return True
    after = {user.op_type for user in _after(view, node)}
    if node.op_type == "ReduceMean":  # a spatial mean is an average pool
        return "Sub" in after or ("Add" in after and any("Sqrt" in _types_after(view, u) for u in _after(view, node)))
    return (node.op_type == "Sub" and "Pow" in after) or (node.op_type == "Add" and "Sqrt" in after)


def _after(view: View, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return the nodes that compute with a node's outputs, directly or through pairs."""
    direct = view.users_of_outputs(node)
    through = [user for quantize in direct if quantize.op_type == QUANTIZE for user in view.users_after_pair(quantize)]
    return [user for user in direct if user.op_type != QUANTIZE] + through


def _types_after(view: View, node: onnx.NodeProto) -> set[str]:
    return {user.op_type for user in _after(view, node)}


def _normalization(view: View, node: onnx.NodeProto) -> Iterator[Finding]:
    pairs = [pair for name in view.activations(node) if (pair := view.dequantize(name)) is not None]
    if pairs:
        what = f"{node.op_type} {label(node)!r} takes quantized values; it needs their exactness, and gains no speed."
        yield Finding("pair-in-normalization", (label(node), *map(label, pairs)), what)


def _one_sided(view: View, node: onnx.NodeProto) -> Iterator[Finding]:
    """Find layers without weights with pairs on only some of their inputs and output: they do not run in INT8."""
    inputs = view.activations(node)
    pairs = [pair for name in inputs if (pair := view.dequantize(name)) is not None]
    called = f"{node.op_type} {label(node)!r}"
    if pairs and not is_fused(view, node) and not _reported_as_fusion(view, node):
        if len(pairs) < len(inputs) and not _feeds_itself(view, node):
            what = f"{called} has pairs on {len(pairs)} of its {len(inputs)} inputs, and runs in floating point."
        elif not view.ends_quantized(node):
            what = f"{called} has a pair on its input but none on its output, and runs in floating point."
        else:
            return
        yield Finding("pair-on-one-side", (label(node), *map(label, pairs)), what)
    elif node.op_type in AVERAGE_POOLS and not pairs:
        after = [user for user in view.users_of_outputs(node) if user.op_type == QUANTIZE]
        if after:
            what = f"{called} has a pair on its output but none on its input, and runs in floating point."
            yield Finding("pair-on-one-side", (label(node), *map(label, after)), what)


def _reported_as_fusion(view: View, node: onnx.NodeProto) -> bool:
    """True if another rule reports that this pair keeps the layer out of a fusion."""
    if residual_inputs(view, node)[0]:
        return all(view.dequantize(name) is not None for name in residual_inputs(view, node)[0])
    makers = [view.graph.producer(view.unpaired(name)) for name in view.activations(node)]
    single = len(makers) == 1 and node.op_type in ACTIVATIONS | {"Add"}
    return single and makers[0] is not None and makers[0].op_type in WEIGHTED


def _feeds_itself(view: View, node: onnx.NodeProto) -> bool:
    """True if pointwise layers make the inputs without pairs from quantized tensors, as in x · sigmoid(x)."""
    makers = [view.maker(name) for name in view.activations(node) if view.dequantize(name) is None]
    return node.op_type in POINTWISE and all(
        maker is not None
        and maker.op_type in POINTWISE
        and all(view.dequantize(name) is not None for name in view.activations(maker))
        for maker in makers
    )
