"""The questions that rules ask about a graph with Q/DQ pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from quantkit.graph.graph import Graph, attribute, operand, result
from quantkit.graph.model_file import opset_of
from quantkit.graph.operators import (
    ACTIVATIONS,
    DEQUANTIZE,
    POINTWISE,
    QUANTIZE,
    WEIGHTED,
    commutes_with_rounding,
    parts_a_tensor,
)

SEVERAL_ACTIVATIONS = POINTWISE | WEIGHTED | {"Concat", "Max", "Min", "Sum"}


class View:
    """A graph from the view of its pairs, which skips layers that only pass values on. It covers the main graph only.

    Attributes:
        graph: The graph.
        opset: The version of ONNX's own operators.
        constants: The names of all tensors that a builder folds, including the graph's own constants.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = Graph(model.graph)
        self.opset = opset_of(model)
        self.constants = set(self.graph.constants)
        for node in self.graph.nodes:  # in topological order
            foldable = passes_values_on(node) or node.op_type in (QUANTIZE, DEQUANTIZE)
            if foldable and node.input and all(not name or name in self.constants for name in node.input):
                self.constants.update(node.output)

    def origin(self, tensor: str) -> str:
        """Return the tensor that this one's values come from. They may be all its values or some of them."""
        return self._followed(tensor, passes_values_on)[-1]

    def whole(self, tensor: str) -> str:
        """Return the tensor whose values are exactly this one's; a part of a tensor is a tensor of its own."""
        return self._followed(tensor, lambda node: passes_values_on(node) and not parts_a_tensor(node))[-1]

    def between(self, tensor: str) -> list[onnx.NodeProto]:
        """Return the layers that pass values on between a tensor and its origin, the last one first."""
        producers = (self.graph.producer(name) for name in self._followed(tensor, passes_values_on)[:-1])
        return [node for node in producers if node is not None]

    def _followed(self, tensor: str, passes: Callable[[onnx.NodeProto], bool]) -> list[str]:
        """Return a tensor and the tensors before it, as long as the layers between them satisfy ``passes``."""
        found = {tensor: None}  # an ordered set, because a damaged graph may have cycles
        while (node := self.graph.producer(tensor)) is not None and passes(node):
            tensor = operand(node, 0)
            if tensor in found:
                break
            found[tensor] = None
        return list(found)

    def maker(self, tensor: str) -> onnx.NodeProto | None:
        """Return the node that computes a tensor's values."""
        return self.graph.producer(self.origin(tensor))

    def dequantize(self, tensor: str) -> onnx.NodeProto | None:
        """Return the DequantizeLinear that a tensor comes from; None if the tensor is in floating point."""
        node = self.maker(tensor)
        return node if node is not None and node.op_type == DEQUANTIZE else None

    def unpaired(self, tensor: str) -> str:
        """Return the tensor that this tensor's pair quantizes; without a pair, the tensor's origin."""
        node = self.dequantize(tensor)
        quantize = None if node is None else self.maker(operand(node, 0))
        if quantize is None or quantize.op_type != QUANTIZE:
            return self.origin(tensor)
        return self.origin(operand(quantize, 0))

    def consumers(self, tensor: str) -> list[onnx.NodeProto]:
        """Return the nodes that consume a tensor, each once, including nodes with a subgraph that reads it."""
        nodes = [*(node for node, _ in self.graph.consumers(tensor)), *self.graph.captured.get(tensor, ())]
        return list({id(node): node for node in nodes}.values())

    def users(self, tensor: str) -> list[onnx.NodeProto]:
        """Return the nodes that compute with a tensor's values."""
        found: dict[int, onnx.NodeProto] = {}
        waiting, seen = [tensor], set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            for node in self.consumers(name):
                if passes_values_on(node) and operand(node, 0) == name:
                    waiting.extend(node.output)
                else:
                    found[id(node)] = node
        return list(found.values())

    def users_of_outputs(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Return the nodes that compute with a node's outputs."""
        return [user for name in node.output for user in self.users(name)]

    def users_after_pair(self, quantize: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Return the nodes that compute with the outputs of a QuantizeLinear and its DequantizeLinear."""
        dequantizers = (node for node in self.users_of_outputs(quantize) if node.op_type == DEQUANTIZE)
        return [user for node in dequantizers for user in self.users_of_outputs(node)]

    def activations(self, node: onnx.NodeProto) -> list[str]:
        """Return the inputs of a node that are not constant.

        Only the first input is considered, except for pointwise and weighted layers, Concat, Max, Min and Sum.
        """
        inputs = node.input if node.op_type in SEVERAL_ACTIVATIONS else node.input[:1]
        return [name for name in inputs if name and name not in self.constants]

    def activated(self, node: onnx.NodeProto) -> str:
        """Return a node's output after the activations that it is fused with, including x · sigmoid(x)."""
        output = result(node)
        seen: set[str] = set()  # a damaged graph may have cycles
        while output not in seen and (users := self.users(output)):
            seen.add(output)
            gates = [user for user in users if user.op_type in ACTIVATIONS]
            products = [user for user in users if user.op_type == "Mul"]
            if len(users) == len(gates) == 1:
                output = result(gates[0])
            elif len(users) == 2 and gates and products and result(gates[0]) in products[0].input:
                output = result(products[0])
            else:
                break
        return output

    def in_int8(self, node: onnx.NodeProto) -> bool:
        """True if a Conv, ConvTranspose, Gemm or MatMul has pairs on both operands."""
        return node.op_type in WEIGHTED and all(self.dequantize(operand(node, i)) is not None for i in (0, 1))

    def ends_quantized(self, node: onnx.NodeProto) -> bool:
        """True if a node's output is quantized, with only fused pointwise layers in between."""
        waiting, seen = [node], {id(node)}
        while waiting:
            for user in self.users_of_outputs(waiting.pop()):
                if user.op_type == QUANTIZE:
                    return True
                if user.op_type in POINTWISE and id(user) not in seen:
                    seen.add(id(user))
                    waiting.append(user)
        return False

    def stored(self, name: str) -> onnx.TensorProto | None:
        """Return the constant of the graph that a constant is made from; None for other tensors."""
        return self.graph.constants.get(self.origin(name))

    def array(self, name: str) -> npt.NDArray[np.float64] | None:
        """Return the values of a constant, flat; None if it is not constant or its data is not here.

        Raises:
            BadModel: The constant is damaged.
        """
        values = self.graph.array(self.origin(name))
        return None if values is None else np.asarray(values, np.float64).reshape(-1)

    def scale(self, node: onnx.NodeProto) -> npt.NDArray[np.float64] | None:
        """Return the scales of a QuantizeLinear or DequantizeLinear, flat; None if they are unknown."""
        return self.array(operand(node, 1))

    def same_scale(self, one: onnx.NodeProto, other: onnx.NodeProto) -> bool:
        """True if two Q or DQ have equal scales, or if the scale of one is unknown."""
        a, b = self.scale(one), self.scale(other)
        return a is None or b is None or (a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=True)))

    def dims(self, tensor: str) -> tuple[int, ...] | None:
        """Return the shape of a constant after Q, DQ, Cast and Transpose; None if something else reshapes it."""
        permutations = []
        seen: set[str] = set()
        while tensor not in self.graph.constants and tensor not in seen:
            seen.add(tensor)
            node = self.graph.producer(tensor)
            if node is None or node.op_type not in (QUANTIZE, DEQUANTIZE, "Cast", "Identity", "Transpose"):
                return None
            if node.op_type == "Transpose":
                permutations.append(attribute(node, "perm", []))
            tensor = operand(node, 0)
        if tensor not in self.graph.constants:
            return None
        dims = list(self.graph.constants[tensor].dims)
        for order in reversed(permutations):
            order = order or list(reversed(range(len(dims))))
            if sorted(order) != list(range(len(dims))):
                return None
            dims = [dims[i] for i in order]
        return tuple(dims)

    def quantized_type(self, node: onnx.NodeProto) -> int | None:
        """Return the ONNX type of a Q's output or a DQ's input; None if it is unknown. ONNX's default is UINT8."""
        zero_point = self.stored(operand(node, 2))
        if zero_point is not None:
            return int(zero_point.data_type)
        if node.op_type == DEQUANTIZE:
            stored = self.stored(operand(node, 0))
            if stored is not None:
                return int(stored.data_type)
            quantize = self.maker(operand(node, 0))
            return self.quantized_type(quantize) if quantize is not None and quantize.op_type == QUANTIZE else None
        return attribute(node, "output_dtype", 0) or (None if operand(node, 2) else TensorProto.UINT8)


def passes_values_on(node: onnx.NodeProto) -> bool:
    """True if a node computes nothing: pairs commute with it, or it is a Cast.

    Casts are skipped because FP16 models have many and scales may be before one. TensorRT does not move pairs over a
    Cast.
    """
    return commutes_with_rounding(node) or node.op_type == "Cast"
