"""Where pairs go for ONNX Runtime: regions of nodes that pass integers on to one another.

onnxruntime turns a node between DequantizeLinear and QuantizeLinear into an integer kernel, or computes it in floating
point if one of the two is missing (measured with 1.32: the graph that it optimizes says which). So a pair is worth its
cost only inside a region:

1. Conv, Gemm and MatMul start regions. Their inputs get pairs. A Conv gives integers only if its output has a pair,
   too; a product gives integers if all its consumers take them, and floats otherwise, at the same speed.
2. Add, Mul, Concat, Sigmoid, LeakyRelu and average pools join if all their inputs are integers already, and if all
   their consumers take integers. So the residual sums between LayerNormalizations, a mask before Softmax, and the
   boxes and scores of a detector stay in floating point.
3. Operators that only move values join on the same terms. Their input and output share one scale, because only then are
   bytes moved.
4. A ReLU or Clip after one of these is what its pair does anyway, if nothing else reads the values before it, and is
   removed.
5. Values of a tensor that is gated by itself, as in HardSwish, are cut off below the number where the gate closes.
6. A Conv on one pixel, as in squeeze and excitation, stays in floating point: it takes no time, and its sums no noise.
   ConvTranspose, and every other operator, has no integer kernel, so nothing around it gets a pair for its sake; nor
   has a MatMul whose weight has more than two axes.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from quantkit.core.ranges import TensorRange
from quantkit.graph.gating import closes_below
from quantkit.graph.graph import Graph, operand, result
from quantkit.graph.one_pixel import ONE_PIXEL_CONV, one_pixel_convs
from quantkit.graph.operators import (
    AVERAGE_POOLS,
    CLAMPS,
    MATRIX_PRODUCTS,
    PRODUCTS,
    clip_bounds,
    commutes_with_rounding,
    is_default_domain,
)
from quantkit.qdq.noise import Noise
from quantkit.qdq.placement import STACK_OF_MATRICES, Placement, stacked_weights

JOINING = AVERAGE_POOLS | {"Add", "Concat", "LeakyRelu", "Mul", "Sigmoid"}
NO_BYTES = {"GatherElements", "GatherND"}  # move values, but are not computed in integers
HALF_STEP = 0.5 / 255  # of a range; a zero-point is rounded, so that the grid may end half a step beyond the range


class Regions:
    """Finds the regions of a graph.

    Args:
        graph: The graph; its nodes have unique names.
        ranges: The ranges of activations, by tensor.
        left: The nodes that stay in floating point, each with the reason.
        noise: Predicts what rounding leaves of a tensor.
    """

    def __init__(self, graph: Graph, ranges: Mapping[str, TensorRange], left: Mapping[str, str], noise: Noise) -> None:
        self.graph = graph
        self.placement = Placement(graph, ranges, dict(left), noise)
        self.removed: set[str] = set()  # the names of the clamps that pairs replace
        self._live: set[str] = set()

    def place(self) -> Placement:
        """Return the placement of pairs."""
        for node in self.graph.of_type("ConvTranspose"):
            self.placement.left.setdefault(node.name, "onnxruntime has no integer kernel for ConvTranspose")
        for name in one_pixel_convs(self.graph):
            self.placement.left.setdefault(name, ONE_PIXEL_CONV)
        for name in stacked_weights(self.graph):  # the kernel that gives floats refuses them
            self.placement.left.setdefault(name, STACK_OF_MATRICES)
        for node in self.graph.of_type(*PRODUCTS):
            if node.name not in self.placement.left:
                self.placement.place_weighted(node)
        self._live = {node.name for node in self.graph.nodes if self._may_join(node)}
        while gone := {node.name for node in self.graph.nodes if node.name in self._live and not self._stays(node)}:
            self._live -= gone
        for node in self.graph.nodes:
            self._emit(node)
        return self.placement

    def _may_join(self, node: onnx.NodeProto) -> bool:
        placement = self.placement
        if node.name in placement.left or not is_default_domain(node):
            return False
        if node.op_type in CLAMPS:
            return self._is_absorbed(node)
        moves = commutes_with_rounding(node) and node.op_type not in NO_BYTES
        values = node.input[:1] if moves else node.input
        known = all(name in placement.ranges for name in (*values, *filter(None, node.output)))
        return known and (moves or node.op_type in JOINING)

    def _is_absorbed(self, clamp: onnx.NodeProto) -> bool:
        """True if a pair after a ReLU or Clip saturates where the operator does."""
        bounds, own = clip_bounds(clamp, self.graph.constants), self.placement.ranges.get(result(clamp))
        if bounds is None or own is None or self.graph.only_consumer(operand(clamp, 0)) is None:
            return False
        slack = HALF_STEP * (own.high - own.low)
        return own.low >= bounds[0] - slack and own.high <= bounds[1] + slack

    def _stays(self, node: onnx.NodeProto) -> bool:
        """True if a node can stay in its region as long as all others do."""
        if node.op_type in CLAMPS:
            return self._gives_before(node)
        inputs = node.input if node.op_type in JOINING else node.input[:1]
        return all(map(self._is_given, inputs)) and all(self._is_taken(name) for name in node.output if name)

    def _gives_before(self, clamp: onnx.NodeProto) -> bool:
        """True if a clamp's input is the result of a node whose integers its pair rounds."""
        source = self._giver(operand(clamp, 0))
        if source is None:
            return False
        return source.op_type == "Conv" or self._is_taken(result(clamp))

    def _is_given(self, name: str) -> bool:
        """True if a tensor has integers: its producer gives them, or a pair for another consumer makes them."""
        node = self.graph.producer(name)
        if node is not None and node.name in self._live:
            return True
        giver = self._giver(name)
        if giver is not None and (giver.op_type == "Conv" or self._is_taken(name)):
            return True
        return any(self._weighs(user, position) for user, position in self.graph.consumers(name))

    def _giver(self, name: str) -> onnx.NodeProto | None:
        """Return the quantized layer or joined node whose result a tensor is; a MatMul's bias belongs to it."""
        node = self.graph.producer(name)
        if node is None:
            return None
        matmul = biased_product(self.graph, node)
        if matmul is not None and matmul.name in self.placement.quantized:
            return matmul
        if node.name in self.placement.quantized:
            return node if bias_add(self.graph, node) is None else None
        return node if node.name in self._live and node.op_type in JOINING else None

    def _is_taken(self, name: str) -> bool:
        """True if all consumers of a tensor are known and take integers."""
        users = self.graph.consumers(name)
        return bool(users) and not self.graph.must_keep(name) and all(self._takes(*user) for user in users)

    def _takes(self, node: onnx.NodeProto, position: int) -> bool:
        if self._weighs(node, position):
            return True
        if node.name not in self._live:
            return False
        return node.op_type in CLAMPS or node.op_type in JOINING or position == 0

    def _weighs(self, node: onnx.NodeProto, position: int) -> bool:
        """True if a node is a quantized layer, and this input is rounded for it."""
        return (operand(node, position), node.name, position) in self.placement.edges and (
            node.op_type in PRODUCTS and node.name in self.placement.quantized
        )

    def _emit(self, node: onnx.NodeProto) -> None:
        placement = self.placement
        if node.op_type in PRODUCTS and node.name in placement.quantized:
            end = self._end(node)
            if node.op_type == "Conv" or self._is_taken(end):
                self._round(end, node.name)
        elif node.name in self._live and node.op_type in JOINING:
            placement.quantized.add(node.name)
            placement.edges |= {(name, node.name, position) for position, name in enumerate(node.input)}
            self._round(self._end(node), node.name)
        elif node.name in self._live and node.op_type not in CLAMPS:
            placement.quantized.add(node.name)
            placement.edges.add((node.input[0], node.name, 0))
            outputs = [name for name in node.output if name]
            placement.share_scale([node.input[0], *outputs])
            for name in outputs:
                self._round(name, node.name)

    def _end(self, node: onnx.NodeProto) -> str:
        """Return the tensor that a node's kernel gives: behind its bias and the clamp that its pair replaces."""
        add = bias_add(self.graph, node)
        name = result(node if add is None else add)
        clamp = self.graph.only_consumer(name)
        if clamp is None or clamp.op_type not in CLAMPS or clamp.name not in self._live:
            return name
        self.removed.add(clamp.name)
        return result(clamp)

    def _round(self, name: str, by: str) -> None:
        """Round a tensor where it is computed, for all that read it."""
        if name not in self.placement.ranges:
            self.placement.left[by] = f"no range was calibrated for {name}"
            return
        own, lowest = self.placement.ranges[name], closes_below(self.graph, name)
        if own.low < lowest <= 0 < own.high and name not in self.placement.scale_groups:
            self.placement.ranges = {**self.placement.ranges, name: TensorRange(own.amax, lowest, own.high)}
        self.placement.outputs[name] = by
        self.placement.edges |= {(name, user.name, position) for user, position in self.graph.consumers(name)}


def bias_add(graph: Graph, node: onnx.NodeProto) -> onnx.NodeProto | None:
    """Return the Add that alone consumes a MatMul's output and adds a constant vector to it; None if there is none."""
    user = graph.only_consumer(result(node)) if node.op_type == "MatMul" else None
    return user if user is not None and biased_product(graph, user) is node else None


def biased_product(graph: Graph, add: onnx.NodeProto) -> onnx.NodeProto | None:
    """Return the MatMul to which an Add adds its bias, a constant vector; None for any other node."""
    if add.op_type != "Add":
        return None
    for value, bias in (tuple(add.input), tuple(add.input)[::-1]):
        producer, constant = graph.producer(value), graph.initializers.get(bias)
        if producer is None or constant is None or producer.op_type not in MATRIX_PRODUCTS - {"Gemm"}:
            continue
        weight = graph.initializers.get(operand(producer, 1))
        fits = weight is not None and len(weight.dims) > 1 and list(constant.dims) == list(weight.dims[-1:])
        if fits and graph.only_consumer(value) is not None:
            return producer
    return None
