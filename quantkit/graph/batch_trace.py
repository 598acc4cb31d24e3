"""Follows axes of a graph's inputs to other tensors, as far as no operator mixes values along them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx

from quantkit.graph.graph import Graph, attribute, operand, subgraphs

Shape = tuple[int | str, ...]

# Their first input is (N, C, ...), by ONNX's definition.
BATCH_FIRST = frozenset({
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace", "GlobalAveragePool", "GlobalMaxPool",
    "GroupNormalization", "InstanceNormalization", "LRN", "MaxPool", "SpaceToDepth",
})  # fmt: skip
RECURRENT = frozenset({"GRU", "LSTM", "RNN"})
SEQUENCE_LENGTHS, FIRST_STATE = 4, 5  # the positions of a recurrent operator's inputs
ELEMENTWISE = frozenset({
    "Abs", "Add", "And", "BitShift", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos", "Div", "Dropout", "Elu",
    "Equal", "Erf", "Exp", "Floor", "FusedGelu", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish",
    "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul",
    "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin",
    "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor",
})  # fmt: skip
ALONG_ONE_AXIS = {"Softmax": -1, "LogSoftmax": -1, "Hardmax": -1, "ArgMax": 0, "ArgMin": 0, "CumSum": 0, "TopK": -1,
                  "LpNormalization": -1}  # fmt: skip
TO_THE_END = {"LayerNormalization": -1, "RMSNormalization": -1, "Flatten": 1}  # they join all axes from theirs on
SIZES_ONLY = frozenset({"Shape", "Size"})  # their outputs do not depend on any value


@dataclass
class Trace:
    """Where axes of a graph's inputs lie in its tensors.

    Attributes:
        axes: The axis of every tensor that was reached.
        declared: True if an operator was reached for which ONNX defines the axis as the batch.
        denied: True if such an operator takes the traced tensor with another axis as its batch.
        mixed: True if an operator was reached that mixes values along the axis, or is not known not to.
    """

    axes: dict[str, int] = field(default_factory=dict)
    declared: bool = False
    denied: bool = False
    mixed: bool = False


def trace(graph: Graph, axes: Mapping[str, int], shapes: Mapping[str, Shape]) -> Trace:
    """Follow axes of inputs through the graph.

    Args:
        graph: The graph, in topological order.
        axes: The axis of each input to follow.
        shapes: The shapes of tensors, as far as they are known.

    Returns:
        Where the axes lie.
    """
    found = Trace(dict(axes))
    lost: set[str] = set()
    for node in graph.nodes:
        if any(name in found.axes for inner in subgraphs(node) for name in _read(inner)):
            found.mixed = True
        own = {position: found.axes[name] for position, name in enumerate(node.input) if name in found.axes}
        behind = any(name in lost for name in node.input)
        if not own or node.op_type in SIZES_ONLY:
            lost |= set(node.output) if behind and node.op_type not in SIZES_ONLY else set()
            continue
        batch = _declared(node, own)
        found.declared |= batch is True
        found.denied |= batch is False
        carried = None if behind or node.domain not in ("", "ai.onnx") else _carried(node, own, graph, shapes)
        if carried is None:
            found.mixed = True
            lost |= set(node.output)
        else:
            found.axes |= {name: axis for name, axis in carried.items() if name}
    return found


def inferred_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Return the shapes of tensors that onnx infers; only the declared ones if it cannot."""
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # noqa: BLE001  (a model that onnx cannot infer may be sound)
        graph = model.graph
    found: dict[str, Shape] = {
        value.name: tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if (tensor := value.type.tensor_type).HasField("shape")
    }
    return found | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}


def _read(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from node.input
        for inner in subgraphs(node):
            yield from _read(inner)


def _declared(node: onnx.NodeProto, own: Mapping[int, int]) -> bool | None:
    """Return if a followed axis is the batch by the operator's definition; None if the operator defines none."""
    if node.op_type in BATCH_FIRST and 0 in own:
        return own[0] == 0
    if node.op_type in RECURRENT:
        batch = 0 if attribute(node, "layout", 0) else 1
        expected = {0: batch, SEQUENCE_LENGTHS: 0, FIRST_STATE: batch, FIRST_STATE + 1: batch}
        return all(expected.get(position) == axis for position, axis in own.items())
    return None


def _carried(
    node: onnx.NodeProto, own: Mapping[int, int], graph: Graph, shapes: Mapping[str, Shape]
) -> dict[str, int] | None:
    """Return the axis in each output of a node; None if values are mixed along it, or might be."""
    kind = node.op_type
    if kind in ELEMENTWISE or kind == "MatMul":
        axis = _broadcast(node, own, shapes, inner=2 if kind == "MatMul" else 0)
        return None if axis is None else dict.fromkeys(node.output, axis)
    if kind == "Concat":
        return _concatenated(node, own, shapes)
    if kind == "Gather":
        return _gathered(node, own, shapes)
    if kind in RECURRENT:
        if not _declared(node, own) or not {0} <= set(own):
            return None
        first = bool(attribute(node, "layout", 0))
        places = (0, 0, 0) if first else (2, 1, 1)
        return dict(zip(node.output, places, strict=False))
    if set(own) != {0}:
        return None
    axis = own[0]
    if kind in BATCH_FIRST or kind in ("Resize", "Upsample"):
        return dict.fromkeys(node.output, 0) if axis == 0 else None
    moved = _OF_ONE_INPUT.get(kind, _unknown)(node, axis, graph, shapes)
    return None if moved is None else dict.fromkeys(node.output, moved)


def _broadcast(node: onnx.NodeProto, own: Mapping[int, int], shapes: Mapping[str, Shape], inner: int = 0) -> int | None:
    """Return the axis in the result of an elementwise operator, or of a MatMul, which sums over ``inner`` axes."""
    dims = [shapes.get(name) for name in node.input]
    if any(shape is None for shape, name in zip(dims, node.input, strict=True) if name):
        return next(iter(own.values())) if len(node.input) == 1 else None
    ranks = [len(shape or ()) for shape in dims]
    if inner and min(ranks) < 2:
        return None
    most = max(ranks)
    places = {axis + most - ranks[position] for position, axis in own.items()}
    if len(places) != 1:
        return None
    (place,) = places
    for position, shape in enumerate(dims):
        here = place - (most - ranks[position])
        if position in own:
            summed = inner and (here == ranks[position] - 1 if position == 0 else here == ranks[position] - 2)
            if summed or (inner and len(own) > 1 and here >= ranks[position] - inner):
                return None
            if inner and position == 1 and here == ranks[position] - 1 and len(own) > 1:
                return None
        elif shape is not None and 0 <= here < len(shape) and shape[here] != 1:
            own_columns = inner and here >= ranks[position] - inner  # a weight's own axes, not those of its batches
            if not own_columns:
                return None  # a value of its own for each place along the axis
    return place


def _concatenated(node: onnx.NodeProto, own: Mapping[int, int], shapes: Mapping[str, Shape]) -> dict[str, int] | None:
    rank = next((len(shapes[name]) for name in node.input if name in shapes), None)
    if rank is None or len(set(own.values())) != 1 or set(own) != set(range(len(node.input))):
        return None
    axis = own[0]
    return None if attribute(node, "axis", 0) % rank == axis else dict.fromkeys(node.output, axis)


def _gathered(node: onnx.NodeProto, own: Mapping[int, int], shapes: Mapping[str, Shape]) -> dict[str, int] | None:
    data, indices = shapes.get(operand(node, 0)), shapes.get(operand(node, 1))
    if data is None or indices is None or len(own) > 1:
        return None
    along = attribute(node, "axis", 0) % max(len(data), 1)
    if 1 in own:  # an embedding
        return dict.fromkeys(node.output, along + own[1])
    axis = own[0]
    if axis == along:
        return None
    return dict.fromkeys(node.output, axis if axis < along else axis + len(indices) - 1)


Rule = Callable[[onnx.NodeProto, int, Graph, Mapping[str, Shape]], int | None]


def _unknown(node: onnx.NodeProto, axis: int, graph: Graph, shapes: Mapping[str, Shape]) -> int | None:
    return None


def _gemm(node: onnx.NodeProto, axis: int, graph: Graph, shapes: Mapping[str, Shape]) -> int | None:
    bias = shapes.get(operand(node, 2), ())
    own_bias = len(bias) == 2 and bias[0] != 1
    return 0 if axis == (1 if attribute(node, "transA", 0) else 0) and not own_bias else None


def _transposed(node: onnx.NodeProto, axis: int, graph: Graph, shapes: Mapping[str, Shape]) -> int | None:
    shape = shapes.get(operand(node, 0))
    order = attribute(node, "perm", []) or list(reversed(range(len(shape)))) if shape else attribute(node, "perm", [])
    return order.index(axis) if axis in order else None


def _reshaped(node: onnx.NodeProto, axis: int, graph: Graph, shapes: Mapping[str, Shape]) -> int | None:
    before, after = shapes.get(operand(node, 0)), shapes.get(node.output[0])
    target = graph.array(operand(node, 1))
    if target is not None and axis == 0 and target.size and target[0] == 0 and not attribute(node, "allowzero", 0):
        return 0
    if before is None or after is None or len(after) <= axis or "" in before[: axis + 1]:
        return None
    return axis if before[: axis + 1] == after[: axis + 1] else None


def _axes_of(node: onnx.NodeProto, graph: Graph, rank: int) -> list[int] | None:
    """Return the axes of a Squeeze, an Unsqueeze or a reduction, from its attribute or its second input."""
    axes = attribute(node, "axes", [])
    if operand(node, 1):
        values = graph.array(operand(node, 1))
        if values is None:
            return None
        axes = np.asarray(values).reshape(-1).tolist()
    return [axis % rank for axis in axes] if rank else None


def _squeezed(node: onnx.NodeProto, axis: int, graph: Graph, shapes: Mapping[str, Shape]) -> int | None:
    axes = _axes_of(node, graph, len(shapes.get(operand(node, 0), ())))
    return None if not axes or axis in axes else axis - sum(other < axis for other in axes)


def _unsqueezed(node: onnx.NodeProto, axis: int, graph: Graph, shapes: Mapping[str, Shape]) -> int | None:
    shape = shapes.get(operand(node, 0))
    given = graph.array(operand(node, 1)) if operand(node, 1) else None
    count = len(attribute(node, "axes", [])) if given is None else given.size
    axes = None if shape is None else _axes_of(node, graph, len(shape) + count)
    if shape is None or not axes:
        return None
    kept = [place for place in range(len(shape) + len(axes)) if place not in axes]
    return kept[axis]


def _reduced(node: onnx.NodeProto, axis: int, graph: Graph, shapes: Mapping[str, Shape]) -> int | None:
    axes = _axes_of(node, graph, len(shapes.get(operand(node, 0), ())))
    if not axes or axis in axes:
        return None
    return axis if attribute(node, "keepdims", 1) else axis - sum(other < axis for other in axes)


def _along_one(node: onnx.NodeProto, axis: int, graph: Graph, shapes: Mapping[str, Shape]) -> int | None:
    shape = shapes.get(operand(node, 0))
    if not shape:
        return None
    default = ALONG_ONE_AXIS[node.op_type]
    along = attribute(node, "axis", default) % len(shape)
    if axis >= along:  # before opset 13, Softmax joins all axes from its own on
        return None
    return axis


def _to_the_end(node: onnx.NodeProto, axis: int, graph: Graph, shapes: Mapping[str, Shape]) -> int | None:
    shape = shapes.get(operand(node, 0))
    start = attribute(node, "axis", TO_THE_END[node.op_type])
    if shape:
        start %= len(shape)
    if node.op_type == "Flatten":
        return 0 if axis == 0 and start == 1 else None
    return axis if shape and axis < start else None


def _parted(node: onnx.NodeProto, axis: int, graph: Graph, shapes: Mapping[str, Shape]) -> int | None:
    shape = shapes.get(operand(node, 0))
    if not shape:
        return None
    if node.op_type == "Split":
        return axis if attribute(node, "axis", 0) % len(shape) != axis else None
    given = graph.array(operand(node, 3)) if operand(node, 3) else None
    axes = np.arange(len(shape)) if given is None else np.asarray(given).reshape(-1)
    return None if axis in [int(own) % len(shape) for own in axes] else axis


def _padded(node: onnx.NodeProto, axis: int, graph: Graph, shapes: Mapping[str, Shape]) -> int | None:
    pads = graph.array(operand(node, 1))
    if pads is None or operand(node, 3):
        return None
    rank = np.size(pads) // 2
    return axis if pads[axis] == 0 and pads[rank + axis] == 0 else None


_OF_ONE_INPUT: dict[str, Rule] = {
    "Gemm": _gemm,
    "Transpose": _transposed,
    "Reshape": _reshaped,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Split": _parted,
    "Slice": _parted,
    "Pad": _padded,
    **dict.fromkeys(ALONG_ONE_AXIS, _along_one),
    **dict.fromkeys(TO_THE_END, _to_the_end),
    **{
        f"Reduce{how}": _reduced
        for how in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
    },
}
