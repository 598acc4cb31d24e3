"""What a Q/DQ model does otherwise than the floating-point model that its pairs were placed in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from quantkit.core.errors import TargetRefuses
from quantkit.core.wording import some
from quantkit.graph.graph import Graph, captured_names, operand
from quantkit.graph.operators import CLAMPS, DEQUANTIZE, QUANTIZE
from quantkit.transforms.hard_swish import shorten_hard_swish

OUTPUT = ""  # the reader of a graph output


@dataclass(frozen=True)
class Grid:
    """The numbers that a tensor is rounded to: (q - zero_point) · scale.

    Attributes:
        scale: The distance between two of them, as FP32.
        zero_point: The integer that stands for 0.
        signed: True for the integers of s8, False for those of u8.
    """

    scale: float
    zero_point: int
    signed: bool

    @classmethod
    def of(cls, scale: np.float32, zero_point: np.int8 | np.uint8) -> Grid:
        """Return the grid of a pair's constants, as a dialect's scheme gives them."""
        return cls(float(scale), int(zero_point), isinstance(zero_point, np.int8))


@dataclass(frozen=True)
class Read:
    """A tensor that a node reads rounded.

    Attributes:
        tensor: The tensor of the floating-point model.
        node: The name of the node; ``OUTPUT`` for a graph output.
        position: The position among the node's inputs; -1 for a graph output, or if the node's subgraphs read it.
        grid: What it is rounded to.
    """

    tensor: str
    node: str
    position: int
    grid: Grid


Constants = Mapping[str, Mapping[int, npt.NDArray[np.generic]]]
"""The constants that nodes read in place of the floating-point model's, by the node's name and the input position."""


@dataclass(frozen=True, eq=False)
class Differences:
    """What a Q/DQ model does otherwise.

    Attributes:
        reads: The tensors that are read rounded.
        constants: Rounded weights, and corrected or rounded biases, as the floating-point numbers that they stand for.
    """

    reads: tuple[Read, ...]
    constants: Constants


def differences(floating: onnx.ModelProto, quantized: onnx.ModelProto) -> Differences:
    """Compare a Q/DQ model with the floating-point model that it was made from.

    Clamps that pairs made superfluous stay in the floating-point model: behind them, the pairs round to the same.

    Args:
        floating: The floating-point model, with names for all nodes. It is edited: HardSwish is shortened in it if it
            is in the Q/DQ model, and nodes that no output depends on are removed.
        quantized: The Q/DQ model, whose nodes have the same names.

    Returns:
        The differences.

    Raises:
        TargetRefuses: The Q/DQ model has other nodes than the floating-point one.
    """
    view = Graph(quantized.graph)
    own = {node.name: node for node in quantized.graph.node if node.op_type not in (QUANTIZE, DEQUANTIZE)}
    if any(node.op_type not in CLAMPS for node in floating.graph.node if node.name not in own):
        shorten_hard_swish(floating.graph)
    nodes = {node.name: node for node in floating.graph.node}
    strange = [name for name in own if name not in nodes]
    strange += [name for name, node in nodes.items() if name not in own and node.op_type not in CLAMPS]
    if strange:
        raise TargetRefuses(
            f"The Q/DQ model has other nodes than the floating-point model ({some(strange)}), and cannot be simulated.",
            "Name another target.",
        )
    _drop_unread(floating.graph)
    graph = Graph(floating.graph)
    nodes = {node.name: node for node in graph.nodes}
    reads: list[Read] = []
    constants: dict[str, dict[int, npt.NDArray[np.generic]]] = {}
    for name, node in own.items():
        if name not in nodes:
            continue
        for position, tensor in enumerate(node.input):
            original = operand(nodes[name], position)
            grid = _grid(view, tensor)
            if grid is not None:
                reads.append(Read(original, name, position, grid))
                continue
            values = _constant(view, tensor)
            if values is not None and not _equal(values, graph.array(original)):
                constants.setdefault(name, {})[position] = values
        reads += [Read(tensor, name, -1, grid) for tensor, grid in _grids(view, captured_names(node))]
    reads += [Read(tensor, OUTPUT, -1, grid) for tensor, grid in _grids(view, view.outputs)]
    return Differences(tuple(reads), constants)


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Remove the nodes that no output of the graph depends on."""
    read = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if read & set(node.output):
            kept.append(node)
            read |= set(node.input) | captured_names(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _grids(view: Graph, names: Iterable[str]) -> Iterator[tuple[str, Grid]]:
    for name in sorted(names):
        grid = _grid(view, name)
        if grid is not None:
            yield name, grid


def _grid(view: Graph, tensor: str) -> Grid | None:
    """Return what a pair rounds to, if the tensor is the output of one."""
    dequantize = view.producer(tensor)
    if dequantize is None or dequantize.op_type != DEQUANTIZE:
        return None
    quantize = view.producer(dequantize.input[0])
    if quantize is None or quantize.op_type != QUANTIZE:
        return None
    scale, zero_point = view.array(operand(dequantize, 1)), view.array(operand(dequantize, 2))
    if scale is None or scale.size != 1 or zero_point is None or zero_point.dtype not in (np.int8, np.uint8):
        raise TargetRefuses(
            f"The pair of {tensor} has no single constant scale with a zero-point of 8 bits, and cannot be simulated.",
            "Name another target.",
        )
    return Grid(float(scale.reshape(())), int(zero_point.reshape(-1)[0]), zero_point.dtype == np.int8)


def _constant(view: Graph, tensor: str) -> npt.NDArray[np.generic] | None:
    """Return the values of a constant, dequantized if it is stored as integers; None for any other tensor."""
    dequantize = view.producer(tensor)
    if dequantize is None or dequantize.op_type != DEQUANTIZE:
        return view.array(tensor)
    integers, scale = view.array(dequantize.input[0]), view.array(dequantize.input[1])
    if integers is None or scale is None:
        return None
    zero_point = view.array(operand(dequantize, 2))
    axis = next((own.i for own in dequantize.attribute if own.name == "axis"), 1)
    shape = (
        [-1 if i == axis % integers.ndim else 1 for i in range(integers.ndim)]
        if scale.size > 1
        else [1] * integers.ndim
    )
    # The difference is exact in float32 for 8 bits; s32 has no zero-point. The product is rounded once, as at run time.
    offset = 0 if zero_point is None else zero_point.astype(np.int32).reshape(shape)
    values: npt.NDArray[np.generic] = (integers.astype(np.int32) - offset).astype(np.float32) * scale.reshape(shape)
    return values


def _equal(values: npt.NDArray[np.generic], other: npt.NDArray[np.generic] | None) -> bool:
    return other is not None and values.shape == other.shape and bool(np.array_equal(values, other))
