"""What FP16 cannot hold, so that the nodes that compute with it stay in FP32.

FP16 ends at 65504, and below 6e-5 it loses digits until nothing is left at 6e-8. What lies beyond is either of no
account, such as a mask of -1e9 that -65504 replaces as well, or it ruins the result: a square of 1e6 becomes infinite,
and an epsilon of 1e-10, with the variance it is added to, becomes 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import onnx

from quantkit.core.ranges import LARGEST_HALF, SMALLEST_RANGE, TensorRange
from quantkit.graph.graph import Graph, operand
from quantkit.graph.operators import DEQUANTIZE, QUANTIZE, REARRANGING, WEIGHTED

SMALLEST_CONSTANT = 2.0**-20  # below it, an FP16 number is off by 3 % and more
LARGEST_CONSTANT = 1 << 20  # values; a larger constant is a weight, whose own layer decides
LONGEST_WALK = 6  # nodes of a normalization before and behind the place where its epsilon is added
OTHERWISE_HELD = {QUANTIZE, DEQUANTIZE, "Range", "Resize", "Upsample"}  # whose constants are looked at elsewhere
MASKING = {"Add", "And", "Cast", "Mul", "Neg", "Not", "Or", "Pad", "Slice", "Sub", "Where"} | REARRANGING
BOUNDED = {"ArgMax", "HardSigmoid", "LogSoftmax", "Max", "MaxPool", "ReduceMax", "Sigmoid", "Softmax", "Tanh", "TopK"}
NORMALIZING = {"Abs", "Clip", "Div", "Max", "Mul", "Pow", "Reciprocal", "ReduceL2", "ReduceMean", "ReduceSum",
               "ReduceSumSquare", "Sqrt", "Sub"}  # fmt: skip


def beyond_half(graph: Graph, ranges: Mapping[str, TensorRange]) -> dict[str, str]:
    """Return the nodes that have to stay in FP32, each with what FP16 cannot hold.

    Args:
        graph: The graph; every node has a name.
        ranges: The calibrated ranges by tensor, as far as they are known.
    """
    found: dict[str, str] = {}
    for name, own in ranges.items():
        reason = _beyond(graph, name, own)
        producer = graph.producer(name)
        nodes = [producer] if producer is not None else []
        for node in (*nodes, *(use.node for use in graph.consumers(name))) if reason else ():
            found.setdefault(node.name, reason)
    for name in graph.constants:
        reason = _unheld(graph, name)
        for node, _ in graph.consumers(name) if reason else ():
            for around in _normalization(graph, node) if "small" in reason else (node,):
                found.setdefault(around.name, reason)
    return found


def _beyond(graph: Graph, name: str, own: TensorRange) -> str:
    if max(own.high, -own.low) < SMALLEST_RANGE:
        return f"{name} is as small as {max(own.high, -own.low):.1e}"
    if own.high > LARGEST_HALF or (own.low < -LARGEST_HALF and not _is_mask(graph, name)):
        return f"{name} reaches {own.high if own.high > LARGEST_HALF else own.low:.1e}"
    return ""


def _unheld(graph: Graph, name: str) -> str:
    """Return what FP16 cannot hold of a constant; empty if it holds it, or if it does not matter."""
    tensor = graph.constants[name]
    if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims, dtype=np.float64) > LARGEST_CONSTANT:
        return ""
    if not {node.op_type for node, _ in graph.consumers(name)} - WEIGHTED - OTHERWISE_HELD:
        return ""
    values = graph.array(name)
    if values is None or not values.size:
        return ""
    finite: npt.NDArray[np.float64] = np.abs(values[np.isfinite(values)].astype(np.float64))
    largest = float(finite.max(initial=0.0))
    if largest > LARGEST_HALF and not _masks(graph, name, values):
        return f"the constant {name} is as large as {largest:.1e}"
    if 0 < largest < SMALLEST_CONSTANT:
        return f"the constant {name} is as small as {largest:.1e}"
    return ""


def _masks(graph: Graph, name: str, values: npt.NDArray[np.floating]) -> bool:
    """True if the large values of a constant stand for minus infinity, or bound a Clip."""
    users = graph.consumers(name)
    if all(node.op_type in {"Clip", "Max", "Min"} and position > 0 for node, position in users):
        return True
    large = values[np.isfinite(values) & (np.abs(values) > LARGEST_HALF)]
    return bool((large < 0).all() or all(node.op_type == "Mul" for node, _ in users)) and _is_mask(graph, name)


def _is_mask(graph: Graph, name: str) -> bool:
    """True if the values below FP16's lowest reach only operators that take it for minus infinity."""
    waiting, seen = [name], {name}
    while waiting:
        tensor = waiting.pop()
        users = graph.consumers(tensor)
        if graph.must_keep(tensor) or not users:
            return False
        for node, _ in users:
            if node.op_type in BOUNDED:
                continue
            if node.op_type not in MASKING:
                return False
            waiting += [own for own in node.output if own and own not in seen]
            seen.update(node.output)
    return True


def _normalization(graph: Graph, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Yield a node that adds an epsilon, what it is added to, and what divides by the sum."""
    yield node
    back = [operand(node, position) for position in range(len(node.input))]
    for _ in range(LONGEST_WALK):
        nodes = [own for own in map(graph.producer, back) if own is not None and own.op_type in NORMALIZING]
        yield from nodes
        back = [name for own in nodes if own.op_type not in ("Sub", "Div") for name in own.input]
    front = list(node.output)
    for _ in range(LONGEST_WALK):
        users = [use.node for name in front for use in graph.consumers(name) if use.node.op_type in NORMALIZING]
        yield from users
        front = [name for own in users if own.op_type not in ("Div", "Mul") for name in own.output]
