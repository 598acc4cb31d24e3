"""Inserts Q/DQ pairs and quantized weights into a graph according to a placement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from quantkit.core.ranges import STEPS, TensorRange
from quantkit.graph.graph import drop_unused_constants, names_in, unique_name
from quantkit.graph.operators import DEQUANTIZE, QUANTIZE
from quantkit.qdq.metadata import dequantized_name, quantized_name, scale_name, unrounded_name, zero_point_name
from quantkit.qdq.placement import SMALLEST_SCALE, Placement
from quantkit.qdq.rounding import Rounder, weight_scale

LARGEST_BIAS = 2.0**31 - 1024  # below the largest s32, so that FP32 scales cannot round beyond it

Scheme = Callable[[str], tuple[np.float32, np.int8 | np.uint8]]
"""Returns the scale (> 0) and the zero-point of an activation's pair, given the activation's name."""


@dataclass(frozen=True, eq=False)
class Bias:
    """A bias to quantize to s32, with the scale of the input times that of each channel's weight.

    Attributes:
        name: The initializer.
        values: Its values, (O,).
        node: The name of the node that adds it.
        position: The position of the bias among that node's inputs.
        input: The layer's input, whose pair gives the scale.
    """

    name: str
    values: npt.NDArray[np.float64]
    node: str
    position: int
    input: str

    def input_scale(self, scheme: Scheme) -> float:
        """Return the scale of the layer's input."""
        return float(scheme(self.input)[0])


def affine(own: TensorRange) -> tuple[np.float32, np.uint8]:
    """Return the u8 scale and zero-point of a range; zero is a point of the grid."""
    scale = np.float32(max((own.high - own.low) / STEPS, SMALLEST_SCALE))
    return scale, np.uint8(np.clip(np.rint(-own.low / scale), 0, STEPS))


def insert_pairs(
    graph: onnx.GraphProto,
    placement: Placement,
    scheme: Scheme,
    rounder: Rounder,
    biases: Mapping[str, Bias] | None = None,
) -> None:
    """Insert the pairs and quantized weights of a placement; nodes stay in topological order.

    Args:
        graph: The graph that the placement was made for; it is edited.
        placement: The placement.
        scheme: Returns the scale and zero-point of each activation.
        rounder: Rounds the weights.
        biases: The biases to quantize to s32, by the name of the weighted node.
    """
    inserted = _Inserted(graph, placement, rounder)
    pairs: dict[str, list[onnx.NodeProto]] = {}
    for name in sorted({tensor for tensor, _, _ in placement.edges} | set(placement.outputs)):
        pairs[name] = inserted.pair(name, *scheme(name))
    for node, (weight, axis) in placement.weights.items():
        inserted.weight(node, weight, axis, scheme, (biases or {}).get(node))
    positions = {(node, position): tensor for tensor, node, position in placement.edges}
    ordered = inserted.constants + [n for v in graph.input for n in pairs.get(v.name, [])]
    for node in graph.node:
        for position, name in enumerate(node.input):
            own = inserted.renamed.get((node.name, position))
            if own is not None:
                node.input[position] = own
            elif (node.name, position) in positions:
                node.input[position] = inserted.behind[name]
        for position, name in enumerate(node.output):
            node.output[position] = inserted.before.get(name, name)
        ordered.append(node)
        ordered += [pair for name in node.output for pair in pairs.get(inserted.after.get(name, name), [])]
    del graph.node[:]
    graph.node.extend(ordered)
    drop_unused_constants(graph)


class _Inserted:
    """The nodes and constants of a placement, with names that nothing in the graph has yet.

    Attributes:
        constants: The nodes that dequantize weights and biases.
        renamed: What a node reads instead at an input position, by the node's name and the position.
        behind: The tensor after the pair of a tensor, by that tensor.
        before: The new name of a tensor that is computed and then rounded, if the rounded one takes the old name.
        after: The inverse of ``before``.
    """

    def __init__(self, graph: onnx.GraphProto, placement: Placement, rounder: Rounder) -> None:
        self._graph, self._placement, self._rounder = graph, placement, rounder
        self._names = names_in(graph)
        self._nodes = {node.name for node in graph.node}
        self._weights: dict[tuple[str, int], tuple[str, npt.NDArray[np.float32]]] = {}
        self.constants: list[onnx.NodeProto] = []
        self.renamed: dict[tuple[str, int], str] = {}
        self.behind: dict[str, str] = {}
        self.before: dict[str, str] = {}
        self.after: dict[str, str] = {}

    def pair(self, name: str, scale: np.float32, zero_point: np.int8 | np.uint8) -> list[onnx.NodeProto]:
        """Make the pair of an activation."""
        constants = [self._new(scale_name(name)), self._new(zero_point_name(name))]
        self._initializer(np.array(scale, np.float32), constants[0])
        self._initializer(np.array(zero_point), constants[1])
        between, source = self._new(quantized_name(name)), name
        if name in self._placement.outputs and self._placement.graph.must_keep(name):
            source = self._new(unrounded_name(name))  # graph outputs and subgraphs get the rounded tensor by its name
            self.before[name], self.after[source], self.behind[name] = source, name, name
        else:
            self.behind[name] = self._new(dequantized_name(name))
        return [
            helper.make_node(QUANTIZE, [source, *constants], [between], name=self._node(f"{name}_{QUANTIZE}")),
            helper.make_node(
                DEQUANTIZE, [between, *constants], [self.behind[name]], name=self._node(f"{name}_{DEQUANTIZE}")
            ),
        ]

    def weight(self, node: str, name: str, axis: int, scheme: Scheme, bias: Bias | None) -> None:
        """Round a node's weight, once for all nodes that use it along the same axis, and its bias."""
        least = 0.0 if bias is None else np.abs(bias.values) / (bias.input_scale(scheme) * LARGEST_BIAS)
        key = (name, axis)
        shared = self._weights.get(key)
        if shared is None or (bias is not None and (shared[1] < least).any()):
            values = numpy_helper.to_array(self._placement.graph.initializers[name])
            scale = weight_scale(values, axis, self._rounder.levels, least)
            rounded = self._rounder(node, values, scale, axis)
            shared = self._dequantized(name, rounded, scale, axis), scale
            self._weights[key] = shared
        self.renamed[node, 1] = shared[0]
        if bias is not None:
            scale = (bias.input_scale(scheme) * shared[1].astype(np.float64)).astype(np.float32)
            values = np.rint(bias.values / scale.astype(np.float64)).astype(np.int32)
            self.renamed[bias.node, bias.position] = self._dequantized(bias.name, values, scale, 0)

    def _dequantized(
        self, name: str, values: npt.NDArray[np.int8 | np.int32], scale: npt.NDArray[np.float32], axis: int
    ) -> str:
        constants = [self._new(quantized_name(name)), self._new(scale_name(name)), self._new(zero_point_name(name))]
        for array, own in zip((values, scale, np.zeros(len(scale), values.dtype)), constants, strict=True):
            self._initializer(array, own)
        behind = self._new(dequantized_name(name))
        node = self._node(f"{name}_{DEQUANTIZE}")
        self.constants.append(helper.make_node(DEQUANTIZE, constants, [behind], name=node, axis=axis))
        return behind

    def _initializer(self, values: npt.NDArray[np.generic], name: str) -> None:
        self._graph.initializer.append(numpy_helper.from_array(values, name))

    def _new(self, wanted: str) -> str:
        name = unique_name(self._names, wanted)
        self._names.add(name)
        return name

    def _node(self, wanted: str) -> str:
        name = unique_name(self._nodes, wanted)
        self._nodes.add(name)
        return name
