"""The places of Q/DQ pairs: what every dialect's rules decide with, and what they decide.

A dialect's rules say which nodes consume and give integers; :func:`placed_without_ruin` applies them until no pair is
left that would ruin its tensor. This module does not edit the graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import TensorProto

from quantkit.core.ranges import STEPS, TensorRange
from quantkit.graph.graph import Graph, operand
from quantkit.graph.operators import (
    AVERAGE_POOLS,
    CONVOLUTIONS,
    MATRIX_PRODUCTS,
    WEIGHTED,
    is_nearest_resize,
    moves_values,
    weight_output_axis,
)
from quantkit.qdq.attention import softmax_of
from quantkit.qdq.noise import RUINED, RUINED_PART, Noise

SMALLEST_MATRIX = 16  # rule 7
BLURRED = 30.0  # dB of a Softmax's probabilities, below which they are not rounded: see docs/accuracy.md
STACK_OF_MATRICES = "its weight is a stack of matrices"
SMALL_MATRIX = f"its weight has fewer than {SMALLEST_MATRIX} rows or columns, where INT8 gains nothing"
RUINS = "rounding "  # how every reason begins that speaks of noise
SMALLEST_SCALE = 2.0**-100  # below it, products of scales leave FP32
LONGEST_WALK = 64  # nodes between a Concat and the layer that reads it


@dataclass
class Placement:
    """Decides which edges get a pair.

    Attributes:
        graph: The graph; its nodes have unique names.
        ranges: The ranges of activations, by tensor; those of constants are dropped.
        left: The nodes that stay in floating point, each with the reason, in words.
        noise: Predicts what rounding leaves of a tensor.
        symmetric: True if scales are amax / 127, False if they cover the range from its low to its high end.
        edges: The edges with a pair, as (tensor, name of the consuming node, input position).
        outputs: The tensors that are rounded where they are computed, so that all consumers read the pair, each with
            the name of the node that gives the integers.
        weights: The weight of each node that consumes it dequantized, with the axis of its output channels.
        quantized: The names of the weighted nodes with pairs, and of the Muls of gates.
        scale_groups: The tensors that share a scale, each with the representative of its group (rule 6).
    """

    graph: Graph
    ranges: Mapping[str, TensorRange]
    left: dict[str, str]
    noise: Noise = field(default_factory=lambda: Noise(None, None))
    symmetric: bool = False
    edges: set[tuple[str, str, int]] = field(default_factory=set)
    outputs: dict[str, str] = field(default_factory=dict)
    weights: dict[str, tuple[str, int]] = field(default_factory=dict)
    quantized: set[str] = field(default_factory=set)
    scale_groups: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A constant needs no pair: weights have scales of their own.
        self.ranges = {name: own for name, own in self.ranges.items() if name not in self.graph.initializers}

    def place(self) -> None:
        """Apply the rules of TensorRT's dialect to every node that does not stay in floating point."""
        nodes = [node for node in self.graph.nodes if node.name not in self.left]
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
        """Apply rules 1 and 7 to a weighted node, or note why it stays in floating point."""
        reason = self._obstacle(node)
        if reason:
            self.left.setdefault(node.name, reason)
            return
        weight = self.graph.initializers.get(node.input[1])
        if weight is not None:
            self.weights[node.name] = weight.name, weight_output_axis(node, len(weight.dims))
        self.quantized.add(node.name)
        for position, name in enumerate(node.input[:2]):
            if name in self.ranges:
                self._pair(node, position)

    def _obstacle(self, node: onnx.NodeProto) -> str:
        """Return why a weighted node cannot be quantized; empty if it can."""
        weight = self.graph.initializers.get(operand(node, 1))
        if weight is None:
            lacking = [name for name in node.input[:2] if name not in self.ranges]
            if lacking and node.input[0] in self.graph.constants:
                return "its weight is the left factor"
            if lacking:
                return f"no range was calibrated for {lacking[0]}"
            return blur_reason(self.blurred(node))
        if weight.data_type != TensorProto.FLOAT:
            return f"its weight is {TensorProto.DataType.Name(weight.data_type)}"
        if node.input[0] not in self.ranges:
            constant = node.input[0] in self.graph.constants
            return "its input is a constant" if constant else f"no range was calibrated for {node.input[0]}"
        if len(weight.dims) < 2:
            return "its weight is a vector"
        if node.op_type == "Conv" and math.prod(weight.dims[1:]) == 1:
            return "it multiplies each value by one number, where INT8 gains nothing"
        if node.op_type in MATRIX_PRODUCTS and is_small(weight):
            return SMALL_MATRIX
        return ""

    def blurred(self, node: onnx.NodeProto) -> dict[str, float]:
        """Return the probabilities among a MatMul's inputs of which rounding would leave little, each with the dB left.

        Those of a Softmax over many tokens are mostly smaller than a step, and few are close to 1.
        """
        held = [name for name in node.input[:2] if name in self.ranges and softmax_of(self.graph, name) is not None]
        left = {name: self.noise.of(name, self.step(name)) for name in held}
        return {name: own for name, own in left.items() if own < BLURRED}

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
        if producer is None or producer.op_type not in CONVOLUTIONS or producer.name in self.left:
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
        if (passes_on or node.op_type == "Concat") and node.name not in self.left:
            return self.all_consumers_quantized(node.output[0])
        return node.name in self.quantized

    def _pair(self, node: onnx.NodeProto, position: int) -> None:
        if node.input[position] in self.ranges:
            self.edges.add((node.input[position], node.name, position))

    def pair_for_consumers(self, name: str) -> None:
        """Pair a tensor for every consumer that does not stay in floating point."""
        for node, position in self.graph.consumers(name):
            if node.name not in self.left:
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

    def step(self, name: str) -> float:
        """Return the distance between two numbers of a tensor's grid."""
        own = self.group_range(name)
        return own.scale if self.symmetric else (own.high - own.low) / STEPS

    def ruined(self) -> dict[str, str]:
        """Return the nodes whose pairs would ruin a tensor, each with the reason, in words."""
        found: dict[str, str] = {}
        for name, node, _ in sorted(self.edges):
            if name not in self.outputs and (reason := self._ruin(name)):
                found.setdefault(node, reason)
        for name, node in sorted(self.outputs.items()):
            if reason := self._ruin(name) or self._ruined_channel(name):
                found.setdefault(node, reason)
        return found

    def _ruin(self, name: str) -> str:
        """Return why rounding a tensor would ruin it or a part of it; empty if it would not."""
        step = self.step(name)
        if step < SMALLEST_SCALE:
            return f"the values of {name} are too small for a scale"
        left = self.noise.of(name, step)
        if left < RUINED:
            return f"{RUINS}{name} would leave {left:.0f} dB"
        for part in self._parts(name):
            left = self.noise.of(part, step)
            if left < RUINED_PART:
                return f"{RUINS}{name} would leave {left:.0f} dB of its part {part}"
        return ""

    def _ruined_channel(self, name: str) -> str:
        """Return why rounding a tensor would ruin a channel that a graph output shows; empty if it would not."""
        if not self._shown(name):
            return ""
        left = self.noise.of_worst_channel(name, self.step(name))
        return f"{RUINS}{name} would leave {left:.0f} dB of a channel" if left < RUINED_PART else ""

    def _shown(self, name: str) -> bool:
        """True if a tensor reaches a graph output without another weighted layer between."""
        waiting, seen = [name], {name}
        while waiting:
            tensor = waiting.pop()
            if self.graph.must_keep(tensor):
                return True
            for node, _ in self.graph.consumers(tensor):
                if node.op_type not in WEIGHTED:
                    waiting += [own for own in node.output if own and own not in seen]
                    seen.update(node.output)
        return False

    def _parts(self, name: str) -> Iterator[str]:
        """Yield the tensors that a Concat put together to make a tensor, at any depth."""
        waiting = [name]
        for _ in range(LONGEST_WALK):
            if not waiting:
                return
            node = self.graph.producer(waiting.pop())
            if node is None:
                continue
            if node.op_type == "Concat":
                yield from (own for own in node.input if own not in self.graph.constants)
                waiting += node.input
            elif moves_values(node):
                waiting.append(node.input[0])


def blur_reason(blurred: Mapping[str, float]) -> str:
    """Return why a product stays in floating point because of its probabilities; empty if there are none."""
    found = " and ".join(f"the probabilities {name} would leave {left:.0f} dB" for name, left in blurred.items())
    return f"{RUINS}{found}" if found else ""


def placed_without_ruin(left: Mapping[str, str], place: Callable[[dict[str, str]], Placement]) -> Placement:
    """Place pairs until none would ruin its tensor.

    Args:
        left: The nodes that stay in floating point from the start, each with the reason.
        place: Makes a placement in which these nodes, and perhaps more, stay in floating point.

    Returns:
        The last placement.
    """
    known = dict(left)
    while True:
        placement = place(dict(known))
        ruined = {name: reason for name, reason in placement.ruined().items() if name not in known}
        if not ruined:
            return placement
        known |= ruined


def stacked_weights(graph: Graph) -> dict[str, int]:
    """Return the MatMuls whose weight has more than two axes, each with the number of matrices in it."""
    weights = {node.name: graph.initializers.get(operand(node, 1)) for node in graph.of_type("MatMul")}
    return {name: math.prod(own.dims[:-2]) for name, own in weights.items() if own is not None and len(own.dims) > 2}


def is_small(weight: onnx.TensorProto) -> bool:
    """True if rule 7 keeps a matrix product with this weight in floating point."""
    return len(weight.dims) < 2 or min(weight.dims[-2:]) < SMALLEST_MATRIX
