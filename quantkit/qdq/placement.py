"""Where TensorRT's Q/DQ pairs go, by the rules of ``targets/tensorrt/qdq/dialect.py``; nothing is edited here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import TensorProto

from quantkit.core.ranges import TensorRange

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
PRODUCTS = ("Gemm", "MatMul")
SUMMING = ("Conv", "ConvTranspose")  # whose kernels take a residual sum along
AVERAGE_POOLS = ("AveragePool", "GlobalAveragePool")
# Q/DQ commute with these.
RESHAPING = ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Dropout", "Identity", "MaxPool")
SMALLEST_MATRIX = 16  # rule 7
SMALLEST_SCALE = 2.0**-24  # for a weight channel that is all zero; TensorRT refuses a scale of 0


@dataclass
class Placement:
    """Decides which edges get a pair. Nodes must have unique names."""

    graph: onnx.GraphProto
    ranges: Mapping[str, TensorRange]
    excluded: set[str]
    edges: set[tuple[str, str, int]] = field(default_factory=set)  # (tensor, consuming node, input position)
    weights: dict[str, int] = field(default_factory=dict)  # weight to its channel axis
    with_weight: set[str] = field(default_factory=set)  # nodes that take their weight dequantized
    quantized: set[str] = field(default_factory=set)  # weighted nodes with pairs, and gates' Muls
    scale_groups: dict[str, str] = field(default_factory=dict)  # rule 6: tensor to the representative of its group

    def __post_init__(self) -> None:
        self.initializers = {tensor.name: tensor for tensor in self.graph.initializer}
        # A constant needs no pair: weights have scales of their own.
        self.ranges = {name: own for name, own in self.ranges.items() if name not in self.initializers}
        self.producers = {name: node for node in self.graph.node for name in node.output}
        self.consumers: dict[str, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
        for node in self.graph.node:
            for position, name in enumerate(node.input):
                self.consumers[name].append((node, position))
        self.graph_outputs = {output.name for output in self.graph.output}

    def place(self) -> None:
        """Apply the rules to every node that is not excluded."""
        nodes = [node for node in self.graph.node if node.name not in self.excluded]
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
        """Rules 1 and 7."""
        operands = node.input[:2]
        weight = self.initializers.get(operands[1])
        if weight is not None:
            if weight.data_type != TensorProto.FLOAT or operands[0] not in self.ranges:
                return
            if node.op_type in PRODUCTS and is_small(weight):
                return
            axis = channel_axis(node, len(weight.dims))
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
        """Rule 4, where a pool between quantized layers gains by it: else a copy in INT8 is made for it alone."""
        around = [user for user, _ in self.consumers[node.input[0]] if user is not node]
        if all(map(self._takes_quantized, around)) and self.all_take_quantized(node.output[0]):
            self._pair(node, 0)
            self.pair_output(node.output[0])

    def _place_add(self, node: onnx.NodeProto) -> None:
        """Rule 2. Without a Conv to fuse with, a sum is worth INT8 only if all that takes it is quantized, too."""
        from_conv = [self._comes_straight_from_conv(name) for name in node.input]
        skip = [1] if all(from_conv) else [position for position, conv in enumerate(from_conv) if not conv]
        if not all(node.input[position] in self.ranges for position in skip):
            return  # a bias or another constant, not a residual
        if not any(from_conv) and not self.all_take_quantized(node.output[0]):
            return  # such as an attention mask before Softmax, or a residual before LayerNormalization
        for position in skip:
            self._pair(node, position)

    def _place_concat(self, node: onnx.NodeProto) -> None:
        """Rule 6, where what follows is quantized: a detector's boxes and scores, say, must not share a scale."""
        if not self.all_take_quantized(node.output[0]):
            return
        self.share_scale([*node.input, *node.output])
        for position in range(len(node.input)):
            self._pair(node, position)
        self.pair_output(node.output[0])

    def _comes_straight_from_conv(self, name: str) -> bool:
        producer = self.producers.get(name)
        alone = len(self.consumers[name]) == 1 and name not in self.graph_outputs
        return alone and producer is not None and producer.op_type in SUMMING and producer.name not in self.excluded

    def all_take_quantized(self, name: str) -> bool:
        """True if whatever takes a tensor has pairs on what it takes."""
        users = [user for user, _ in self.consumers[name]]
        return bool(users) and name not in self.graph_outputs and all(map(self._takes_quantized, users))

    def _takes_quantized(self, node: onnx.NodeProto) -> bool:
        """True if a node has pairs on what it takes, or passes values on to such."""
        if node.op_type in (*RESHAPING, "Concat") and node.name not in self.excluded:
            return self.all_take_quantized(node.output[0])
        return node.name in self.quantized

    def _pair(self, node: onnx.NodeProto, position: int) -> None:
        if node.input[position] in self.ranges:
            self.edges.add((node.input[position], node.name, position))

    def pair_output(self, name: str) -> None:
        """A pair on a tensor, for all that takes it."""
        for node, position in self.consumers[name]:
            if node.name not in self.excluded:
                self.edges.add((name, node.name, position))

    def share_scale(self, names: Sequence[str]) -> None:
        """One scale for these tensors, and for all that share one with any of them."""
        roots = {self.scale_groups.get(name, name) for name in names}
        root = min(roots)
        for name, group in list(self.scale_groups.items()):
            if group in roots:
                self.scale_groups[name] = root
        for name in names:
            self.scale_groups[name] = root

    def group_range(self, name: str) -> TensorRange:
        """The range of a tensor's pair: that of all the tensors it shares a scale with."""
        group = self.scale_groups.get(name)
        members = [name] if group is None else [n for n, g in self.scale_groups.items() if g == group]
        own = [self.ranges[member] for member in members]
        return TensorRange(max(r.amax for r in own), min(r.low for r in own), max(r.high for r in own))

    def scale(self, name: str) -> float:
        """The symmetric scale of a tensor's pair; never 0."""
        return max(self.group_range(name).scale, SMALLEST_SCALE)


def is_nearest_resize(node: onnx.NodeProto) -> bool:
    """True if a node is a Resize that picks values and invents none."""
    settings = {a.name: a.s for a in node.attribute}
    invents = settings.get("coordinate_transformation_mode") == b"tf_crop_and_resize"  # what lies outside
    return node.op_type == "Resize" and settings.get("mode", b"nearest") == b"nearest" and not invents


def is_small(weight: onnx.TensorProto) -> bool:
    """True if rule 7 keeps a matrix product with this weight in floating point."""
    return len(weight.dims) < 2 or min(weight.dims[-2:]) < SMALLEST_MATRIX


def small_matrices(graph: onnx.GraphProto) -> set[str]:
    """Names of the Gemms and MatMuls that rule 7 keeps in floating point."""
    small = {tensor.name for tensor in graph.initializer if is_small(tensor)}
    return {node.name for node in graph.node if node.op_type in PRODUCTS and node.input[1] in small}


def channel_axis(node: onnx.NodeProto, rank: int) -> int:
    """The axis of the weight that holds output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    transposed = next((a.i for a in node.attribute if a.name == "transB"), 0) if node.op_type == "Gemm" else 0
    return 0 if transposed else rank - 1
