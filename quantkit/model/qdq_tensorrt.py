"""Q/DQ for TensorRT: symmetric s8, placed so that the builder keeps its fusions.

The rules, after NVIDIA's "Working with Quantized Types" (Q/DQ layer-placement recommendations),
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html:

1. A pair on every input of Conv, ConvTranspose, Gemm and MatMul, none on their outputs; activations per-tensor, weights
   per-channel; zero-point 0, every scale above 0.
2. A residual Add gets a pair on the skip input only: one on the branch that comes straight from a Conv would break the
   fusion of Conv and Add.
3. No pair on a bias: TensorRT does not parse INT32 DequantizeLinear.
4. MaxPool commutes with Q/DQ and needs none; an average pool does not, and gets one on its input and its output.
5. Any other layer runs in INT8 only between pairs on all its inputs and its output, and is left in floating point.
6. All inputs and the output of a Concat share one scale, so that nothing is requantized.
7. A Gemm or MatMul whose weight has fewer than 16 rows or columns is left in floating point.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.ranges import TensorRange
from quantkit.model.file import ModelFile
from quantkit.model.prepare import prepared
from quantkit.model.qdq_onnxruntime import ensure_names, excluded_nodes
from quantkit.model.quantizable import with_fused

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
AVERAGE_POOLS = ("AveragePool", "GlobalAveragePool")
SMALLEST_MATRIX = 16  # rule 7
SMALLEST_SCALE = 2.0**-24  # for a weight channel that is all zero; TensorRT refuses a scale of 0


def quantized_for_tensorrt(
    model: ModelFile, ranges: Mapping[str, TensorRange], exclude: Sequence[str] = ()
) -> onnx.ModelProto:
    """The model with Q/DQ pairs; nodes whose name or output matches ``exclude`` stay in floating point."""
    proto = prepared(model)
    ensure_names(proto.graph)
    ranges = with_fused(proto.graph, ranges)
    # What a weighted layer puts out gets no pair (rule 1), so that it needs no range: a Q/DQ model's scales lack it.
    unpaired = {name for node in proto.graph.node if node.op_type in WEIGHTED for name in node.output}
    placement = _Placement(proto.graph, ranges, set(excluded_nodes(proto.graph, exclude, unpaired | set(ranges))))
    placement.place()
    placement.insert()
    proto.producer_name = "quantkit"
    return proto


@dataclass
class _Placement:
    """Decides which edges get a pair, then edits the graph."""

    graph: onnx.GraphProto
    ranges: Mapping[str, TensorRange]
    excluded: set[str]
    edges: set[tuple[str, str, int]] = field(default_factory=set)  # (tensor, consuming node, input position)
    weights: dict[str, int] = field(default_factory=dict)  # weight to its channel axis
    with_weight: set[str] = field(default_factory=set)  # nodes that take their weight dequantized
    scale_groups: dict[str, str] = field(default_factory=dict)  # rule 6: tensor to the representative of its group

    def __post_init__(self) -> None:
        self.initializers = {tensor.name: tensor for tensor in self.graph.initializer}
        self.producers = {name: node for node in self.graph.node for name in node.output}
        self.consumers: dict[str, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
        for node in self.graph.node:
            for position, name in enumerate(node.input):
                self.consumers[name].append((node, position))
        self.graph_outputs = {output.name for output in self.graph.output}

    def place(self) -> None:
        """Apply the rules to every node that is not excluded."""
        for node in self.graph.node:
            if node.name in self.excluded:
                continue
            if node.op_type in WEIGHTED:
                self._place_weighted(node)
            elif node.op_type == "Add":
                self._place_add(node)
            elif node.op_type in AVERAGE_POOLS and node.output[0] in self.ranges:
                self._pair(node, 0)
                self._pair_output(node.output[0])
            elif node.op_type == "Concat" and all(name in self.ranges for name in (*node.input, *node.output)):
                self._place_concat(node)

    def _place_weighted(self, node: onnx.NodeProto) -> None:
        operands = node.input[:2]
        weight = self.initializers.get(operands[1])
        if weight is not None:
            if weight.data_type != TensorProto.FLOAT or operands[0] not in self.ranges:
                return
            if node.op_type in ("Gemm", "MatMul") and (len(weight.dims) < 2 or min(weight.dims[-2:]) < SMALLEST_MATRIX):
                return
            axis = _channel_axis(node, len(weight.dims))
            if self.weights.setdefault(weight.name, axis) != axis:
                return  # one weight used along two axes: rare, and not worth two copies
            self.with_weight.add(node.name)
        elif not all(name in self.ranges for name in operands):
            return
        for position, name in enumerate(operands):
            if name in self.ranges:
                self._pair(node, position)

    def _place_add(self, node: onnx.NodeProto) -> None:
        """Rule 2. Without a Conv to fuse with, a sum is worth INT8 only if all that takes it is quantized, too."""
        from_conv = [self._comes_straight_from_conv(name) for name in node.input]
        skip = [1] if all(from_conv) else [position for position, conv in enumerate(from_conv) if not conv]
        if not all(node.input[position] in self.ranges for position in skip):
            return  # a bias or another constant, not a residual
        if not any(from_conv) and not all(self._takes_quantized(user) for user, _ in self.consumers[node.output[0]]):
            return  # such as an attention mask before Softmax, or a residual before LayerNormalization
        for position in skip:
            self._pair(node, position)

    def _place_concat(self, node: onnx.NodeProto) -> None:
        names = [*node.input, *node.output]
        roots = {self._scale_group(name) for name in names}
        root = min(roots)
        for name, group in list(self.scale_groups.items()):
            if group in roots:
                self.scale_groups[name] = root
        for name in names:
            self.scale_groups[name] = root
        for position in range(len(node.input)):
            self._pair(node, position)
        self._pair_output(node.output[0])

    def _comes_straight_from_conv(self, name: str) -> bool:
        producer = self.producers.get(name)
        alone = len(self.consumers[name]) == 1 and name not in self.graph_outputs
        return alone and producer is not None and producer.op_type in WEIGHTED and producer.name not in self.excluded

    def _takes_quantized(self, node: onnx.NodeProto) -> bool:
        """Whether a node will have pairs on what it takes, or passes them through."""
        return node.name not in self.excluded and node.op_type in (*WEIGHTED, "Concat", "MaxPool")

    def _pair(self, node: onnx.NodeProto, position: int) -> None:
        if node.input[position] in self.ranges:
            self.edges.add((node.input[position], node.name, position))

    def _pair_output(self, name: str) -> None:
        for node, position in self.consumers[name]:
            self.edges.add((name, node.name, position))

    def _scale_group(self, name: str) -> str:
        return self.scale_groups.get(name, name)

    def _scale(self, name: str) -> float:
        group = self.scale_groups.get(name)
        members = [name] if group is None else [n for n, g in self.scale_groups.items() if g == group]
        return max(max(self.ranges[member].scale for member in members), SMALLEST_SCALE)

    def insert(self) -> None:
        """Insert the pairs; nodes stay in topological order."""
        pairs: dict[str, list[onnx.NodeProto]] = {}
        for name in sorted({tensor for tensor, _, _ in self.edges}):
            pairs[name] = self._activation_pair(name)
        dequantized = [self._quantize_weight(name, axis) for name, axis in self.weights.items()]
        positions = {(node, position): tensor for tensor, node, position in self.edges}
        ordered = dequantized + [n for v in self.graph.input for n in pairs.get(v.name, [])]
        for node in self.graph.node:
            for position, name in enumerate(node.input):
                if (node.name, position) in positions or (position == 1 and node.name in self.with_weight):
                    node.input[position] = f"{name}_dequantized"
            ordered.append(node)
            ordered += [pair for name in node.output for pair in pairs.get(name, [])]
        del self.graph.node[:]
        self.graph.node.extend(ordered)
        used = {name for node in self.graph.node for name in node.input} | self.graph_outputs
        kept = [tensor for tensor in self.graph.initializer if tensor.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)

    def _activation_pair(self, name: str) -> list[onnx.NodeProto]:
        self.graph.initializer.extend(
            [
                numpy_helper.from_array(np.array(self._scale(name), np.float32), f"{name}_scale"),
                numpy_helper.from_array(np.array(0, np.int8), f"{name}_zero_point"),
            ]
        )
        constants = [f"{name}_scale", f"{name}_zero_point"]
        quantize = helper.make_node(
            "QuantizeLinear", [name, *constants], [f"{name}_quantized"], name=f"{name}_QuantizeLinear"
        )
        dequantize = helper.make_node(
            "DequantizeLinear",
            [f"{name}_quantized", *constants],
            [f"{name}_dequantized"],
            name=f"{name}_DequantizeLinear",
        )
        return [quantize, dequantize]

    def _quantize_weight(self, name: str, axis: int) -> onnx.NodeProto:
        weight = numpy_helper.to_array(self.initializers[name])
        others = tuple(i for i in range(weight.ndim) if i != axis)
        scale = np.maximum(np.abs(weight).max(axis=others) / 127, SMALLEST_SCALE).astype(np.float32)
        shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
        values = np.clip(np.rint(weight / scale.reshape(shape)), -127, 127).astype(np.int8)
        self.graph.initializer.extend(
            [
                numpy_helper.from_array(values, f"{name}_quantized"),
                numpy_helper.from_array(scale, f"{name}_scale"),
                numpy_helper.from_array(np.zeros(len(scale), np.int8), f"{name}_zero_point"),
            ]
        )
        return helper.make_node(
            "DequantizeLinear",
            [f"{name}_quantized", f"{name}_scale", f"{name}_zero_point"],
            [f"{name}_dequantized"],
            name=f"{name}_DequantizeLinear",
            axis=axis,
        )


def _channel_axis(node: onnx.NodeProto, rank: int) -> int:
    """The axis of the weight that holds output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    transposed = next((a.i for a in node.attribute if a.name == "transB"), 0) if node.op_type == "Gemm" else 0
    return 0 if transposed else rank - 1
