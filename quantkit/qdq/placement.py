"""The places of Q/DQ pairs, by the rules of ``targets/tensorrt/qdq/dialect.py``, with which OpenVINO's begin, too.

This module does not edit the graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import TensorProto

from quantkit.core.ranges import TensorRange
from quantkit.graph.graph import Graph
from quantkit.graph.operators import (
    AVERAGE_POOLS,
    CONVOLUTIONS,
    MATRIX_PRODUCTS,
    WEIGHTED,
    commutes_with_rounding,
    is_nearest_resize,
    parts_a_tensor,
    weight_output_axis,
)

SMALLEST_MATRIX = 16  # rule 7
SMALLEST_SCALE = 2.0**-24  # for a weight channel that is all zero, because TensorRT refuses a scale of 0


@dataclass
class Placement:
    """Decides which edges get a pair.

    Attributes:
        graph: The graph; its nodes have unique names.
        ranges: The ranges of activations, by tensor; those of constants are dropped.
        excluded: The names of the nodes that stay in floating point.
        edges: The edges with a pair, as (tensor, name of the consuming node, input position).
        weights: The weights to quantize, each with the axis of its output channels.
        with_weight: The names of the nodes that consume their weight dequantized.
        quantized: The names of the weighted nodes with pairs, and of the Muls of gates.
        scale_groups: The tensors that share a scale, each with the representative of its group (rule 6).
    """

    graph: Graph
    ranges: Mapping[str, TensorRange]
    excluded: set[str]
    edges: set[tuple[str, str, int]] = field(default_factory=set)
    weights: dict[str, int] = field(default_factory=dict)
    with_weight: set[str] = field(default_factory=set)
    quantized: set[str] = field(default_factory=set)
    scale_groups: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A constant needs no pair: weights have scales of their own.
        self.ranges = {name: own for name, own in self.ranges.items() if name not in self.graph.initializers}

    def place(self) -> None:
        """Apply the rules to every node that is not excluded."""
        nodes = [node for node in self.graph.nodes if node.name not in self.excluded]
        for node in nodes:
            if node.op_type in WEIGHTED:
                self.place_weighted(node)
        for node in nodes:
            if node.op_type == "Add":
                self._place_add(node)
            elif node.op_type in AVERAGE_POOLS and node.output[0] in self.ranges:
                self._place_average_pool(node)
            elif node.op_type == "Concat" and all(name in self.ranges for name in (*node.input, *node.output)):
                self._place_concat(node)

    def place_weighted(self, node: onnx.NodeProto) -> None:
        """Apply rules 1 and 7 to a weighted node."""
        operands = node.input[:2]
        weight = self.graph.initializers.get(operands[1])
        if weight is not None:
            if weight.data_type != TensorProto.FLOAT or operands[0] not in self.ranges:
                return
            if node.op_type in MATRIX_PRODUCTS and is_small(weight):
                return
            axis = weight_output_axis(node, len(weight.dims))
            if self.weights.setdefault(weight.name, axis) != axis:
                return  # one weight used along two axes: rare, and not worth two copies
            self.with_weight.add(node.name)
        elif not all(name in self.ranges for name in operands):
            return
        self.quantized.add(node.name)
        for position, name in enumerate(operands):
            if name in self.ranges:
                self._pair(node, position)

    def _place_average_pool(self, node: onnx.NodeProto) -> None:
        """Apply rule 4. Beside a layer in floating point, the input would be converted to INT8 only for the pool."""
        around = [user for user, _ in self.graph.consumers(node.input[0]) if user is not node]
        if all(map(self._is_quantized, around)) and self.all_consumers_quantized(node.output[0]):
            self._pair(node, 0)
            self.pair_for_consumers(node.output[0])

    def _place_add(self, node: onnx.NodeProto) -> None:
        """Apply rule 2. Without a Conv to fuse with, a sum is worth INT8 only if all its consumers are quantized."""
        from_conv = [self._comes_straight_from_conv(name) for name in node.input]
        skip = [1] if all(from_conv) else [position for position, conv in enumerate(from_conv) if not conv]
        if not all(node.input[position] in self.ranges for position in skip):
            return  # a bias or another constant, not a residual
        if not any(from_conv) and not self.all_consumers_quantized(node.output[0]):
            return  # such as an attention mask before Softmax, or a residual before LayerNormalization
        for position in skip:
            self._pair(node, position)

    def _place_concat(self, node: onnx.NodeProto) -> None:
        """Apply rule 6 if the consumers are quantized: a detector's boxes and scores, say, must not share a scale."""
        if not self.all_consumers_quantized(node.output[0]):
            return
        self.share_scale([*node.input, *node.output])
        for position in range(len(node.input)):
            self._pair(node, position)
        self.pair_for_consumers(node.output[0])

    def _comes_straight_from_conv(self, name: str) -> bool:
        producer = self.graph.producer(name)
        if producer is None or producer.op_type not in CONVOLUTIONS or producer.name in self.excluded:
            return False
        return self.graph.only_consumer(name) is not None

    def all_consumers_quantized(self, name: str) -> bool:
        """True if a tensor has consumers, all of them are known, and every one is quantized."""
        users = [user for user, _ in self.graph.consumers(name)]
        return bool(users) and not self.graph.must_keep(name) and all(map(self._is_quantized, users))

    def _is_quantized(self, node: onnx.NodeProto) -> bool:
        """True if a node has pairs on its inputs, or only passes values on to nodes that have."""
        # A nearest Resize passes values on, too, but is not followed: in a detector's neck, that would give pairs and
        # one scale to the Concats and sums before it, which has not been measured.
        passes_on = moves_values(node) and not is_nearest_resize(node)
        if (passes_on or node.op_type == "Concat") and node.name not in self.excluded:
            return self.all_consumers_quantized(node.output[0])
        return node.name in self.quantized

    def _pair(self, node: onnx.NodeProto, position: int) -> None:
        if node.input[position] in self.ranges:
            self.edges.add((node.input[position], node.name, position))

    def pair_for_consumers(self, name: str) -> None:
        """Pair a tensor for every consumer that is not excluded."""
        for node, position in self.graph.consumers(name):
            if node.name not in self.excluded:
                self.edges.add((name, node.name, position))

    def share_scale(self, names: Sequence[str]) -> None:
        """Give one scale to these tensors and to all tensors that share a scale with one of them."""
        roots = {self.scale_groups.get(name, name) for name in names}
        root = min(roots)
        for name, group in list(self.scale_groups.items()):
            if group in roots:
                self.scale_groups[name] = root
        for name in names:
            self.scale_groups[name] = root

    def group_range(self, name: str) -> TensorRange:
        """Return the range of a tensor's pair: the union of the ranges of all tensors that share its scale."""
        group = self.scale_groups.get(name)
        members = [name] if group is None else [n for n, g in self.scale_groups.items() if g == group]
        own = [self.ranges[member] for member in members]
        return TensorRange(max(r.amax for r in own), min(r.low for r in own), max(r.high for r in own))

    def scale(self, name: str) -> float:
        """Return the symmetric scale of a tensor's pair, which is never 0."""
        return max(self.group_range(name).scale, SMALLEST_SCALE)


def moves_values(node: onnx.NodeProto) -> bool:
    """True if a pair after a node may be moved before it: they commute, and the range stays the same.

    A part of a tensor may have a smaller range, and so needs its own pair.
    """
    return commutes_with_rounding(node) and not parts_a_tensor(node)


def is_small(weight: onnx.TensorProto) -> bool:
    """True if rule 7 keeps a matrix product with this weight in floating point."""
    return len(weight.dims) < 2 or min(weight.dims[-2:]) < SMALLEST_MATRIX


def small_matrices(graph: Graph) -> set[str]:
    """Return the names of the Gemms and MatMuls that rule 7 keeps in floating point."""
    small = {name for name, tensor in graph.initializers.items() if is_small(tensor)}
    return {node.name for node in graph.of_type(*MATRIX_PRODUCTS) if node.input[1] in small}
