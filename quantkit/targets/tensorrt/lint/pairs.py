"""Rules about pairs: Q and DQ that belong together, and pairs that repeat each other's work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import onnx

from quantkit.graph.graph import label, operand
from quantkit.graph.operators import DEQUANTIZE, QUANTIZE, commutes_with_rounding
from quantkit.targets.tensorrt.lint.finding import Finding
from quantkit.targets.tensorrt.lint.view import View

INTEGER_OPERATORS = {
    "ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QAttention", "QGemm", "QLinearAdd", "QLinearAveragePool",
    "QLinearConcat", "QLinearConv", "QLinearGlobalAveragePool", "QLinearMatMul", "QLinearMul",
}  # fmt: skip


def pairs(view: View) -> Iterator[Finding]:
    """Yield the findings of all rules of this file."""
    for rule in (_unpaired, _between_pairs, _twice, _on_outputs):
        yield from rule(view)


def _unpaired(view: View) -> Iterator[Finding]:
    """Check that a Q feeds DQs, that the input of a DQ comes from a Q or is constant, and that both have one scale."""
    for node in view.graph.of_type(*sorted(INTEGER_OPERATORS)):
        yield Finding("integer-operator", (label(node),), f"TensorRT has no {node.op_type} ({label(node)!r}).")
    for node in view.graph.of_type(QUANTIZE):
        if node.output and node.output[0] in view.constants:
            users = view.consumers(node.output[0])
        else:
            users = view.users_of_outputs(node)
        others = [user for user in users if user.op_type != DEQUANTIZE]
        out = any(name in view.graph.outputs for name in node.output)
        if others or not (users or out):
            what = f"{label(node)!r} quantizes for {label(others[0])!r}" if others else f"{label(node)!r} feeds nothing"
            yield Finding("unpaired", (label(node), *map(label, others)), f"{what}, not for a DequantizeLinear.")
        elif out:
            yield Finding("quantized-port", (label(node),), f"The output {node.output[0]!r} is of integers.")
        for user in users:
            if user.op_type == DEQUANTIZE and not view.same_scale(node, user):
                what = f"{label(node)!r} and {label(user)!r} are a pair with two scales, which changes the values."
                yield Finding("pair-scales-differ", (label(node), label(user)), what)
    for node in view.graph.of_type(DEQUANTIZE):
        tensor = operand(node, 0)
        maker = view.maker(tensor)
        if tensor in view.constants or (maker is not None and maker.op_type == QUANTIZE):
            continue
        if maker is not None:
            what = f"{label(node)!r} dequantizes what {maker.op_type} {label(maker)!r} computes, not a QuantizeLinear."
            yield Finding("unpaired", (label(node), label(maker)), what)
        else:
            yield Finding("quantized-port", (label(node),), f"The input {tensor!r} is of integers.")


def _between_pairs(view: View) -> Iterator[Finding]:
    """Find DQs that lead straight to a Q. The Q does nothing if the scales are equal, else it is a separate layer."""
    for node in view.graph.of_type(QUANTIZE):
        tensor = operand(node, 0)
        before = view.dequantize(tensor)
        if before is None or tensor in view.constants:
            continue
        moved = view.between(tensor)
        if not view.same_scale(before, node):
            what = f"{label(node)!r} quantizes with another scale what {label(before)!r} has just dequantized."
            yield Finding("requantized", (label(node), label(before), *map(label, moved)), what)
        elif moved and all(map(commutes_with_rounding, moved)):
            what = f"{moved[0].op_type} {label(moved[0])!r} has pairs of one scale on both sides, and needs one."
            yield Finding("needless-pair", (label(moved[0]), label(before), label(node)), what)


def _twice(view: View) -> Iterator[Finding]:
    """Check that a tensor has one scale; each part of a Split, Slice or Gather may have its own."""
    quantizers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in view.graph.of_type(QUANTIZE):
        if operand(node, 0) not in view.constants:
            quantizers[view.whole(operand(node, 0))].append(node)
    for tensor, nodes in quantizers.items():
        if any(not view.same_scale(nodes[0], node) for node in nodes[1:]):
            what = f"{tensor!r} is quantized {len(nodes)} times, with scales that differ."
            yield Finding("quantized-twice", tuple(map(label, nodes)), what)


def _on_outputs(view: View) -> Iterator[Finding]:
    for name in sorted(view.graph.outputs):
        node = view.dequantize(name)
        if node is not None:
            what = f"The output {name!r} is rounded to INT8 by the pair of {label(node)!r}, for no layer's good."
            yield Finding("pair-on-output", (label(node),), what)
