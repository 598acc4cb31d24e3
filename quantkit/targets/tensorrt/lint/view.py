"""What the rules ask of a graph with Q/DQ pairs."""

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
    """A graph as its pairs see it: through the layers that only pass values on. Main graph only.

    ``constants`` are the names of all tensors that a builder folds, beside the graph's own constants.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = Graph(model.graph)
        self.opset = opset_of(model)
        self.constants = set(self.graph.constants)
        for node in self.graph.nodes:  # a graph is sorted
            foldable = passes_values_on(node) or node.op_type in (QUANTIZE, DEQUANTIZE)
            if foldable and node.input and all(not name or name in self.constants for name in node.input):
                self.constants.update(node.output)

    def origin(self, tensor: str) -> str:
        """The tensor whose values, or some of them, this one has."""
        return self._followed(tensor, passes_values_on)[-1]

    def whole(self, tensor: str) -> str:
        """The tensor whose values, all of them, this one has: a part of a tensor is a tensor of its own."""
        return self._followed(tensor, lambda node: passes_values_on(node) and not parts_a_tensor(node))[-1]

    def between(self, tensor: str) -> list[onnx.NodeProto]:
        """The layers that pass values on between a tensor and its origin, the last one first."""
        producers = (self.graph.producer(name) for name in self._followed(tensor, passes_values_on)[:-1])
        return [node for node in producers if node is not None]

    def _followed(self, tensor: str, passes: Callable[[onnx.NodeProto], bool]) -> list[str]:
        """A tensor and those before it, as long as layers between pass values on."""
        found = {tensor: None}  # in order; a damaged graph may go in circles
        while (node := self.graph.producer(tensor)) is not None and passes(node):
            tensor = operand(node, 0)
            if tensor in found:
                break
            found[tensor] = None
        return list(found)

    def maker(self, tensor: str) -> onnx.NodeProto | None:
        """The node that computes a tensor's values."""
        return self.graph.producer(self.origin(tensor))

    def dequantize(self, tensor: str) -> onnx.NodeProto | None:
        """The DequantizeLinear that the tensor comes from; None where it is in floating point."""
        node = self.maker(tensor)
        return node if node is not None and node.op_type == DEQUANTIZE else None

    def unpaired(self, tensor: str) -> str:
        """The tensor that a pair on this one quantizes; without a pair its origin."""
        node = self.dequantize(tensor)
        quantize = None if node is None else self.maker(operand(node, 0))
        if quantize is None or quantize.op_type != QUANTIZE:
            return self.origin(tensor)
        return self.origin(operand(quantize, 0))

    def consumers(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that consume a tensor, each once, those with a subgraph that reads it included."""
        nodes = [*(node for node, _ in self.graph.consumers(tensor)), *self.graph.captured.get(tensor, ())]
        return list({id(node): node for node in nodes}.values())

    def users(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that compute with a tensor's values."""
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
        """The nodes that compute with a node's outputs."""
        return [user for name in node.output for user in self.users(name)]

    def users_after_pair(self, quantize: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes that compute with the outputs of a QuantizeLinear and its DequantizeLinear."""
        dequantizers = (node for node in self.users_of_outputs(quantize) if node.op_type == DEQUANTIZE)
        return [user for node in dequantizers for user in self.users_of_outputs(node)]

    def activations(self, node: onnx.NodeProto) -> list[str]:
        """The inputs that are no constants; of other than pointwise layers and Concat the first alone."""
        inputs = node.input if node.op_type in SEVERAL_ACTIVATIONS else node.input[:1]
        return [name for name in inputs if name and name not in self.constants]

    def activated(self, node: onnx.NodeProto) -> str:
        """A node's output behind the activations that it is fused with: one by one, x · sigmoid(x) included."""
        output = result(node)
        seen: set[str] = set()  # a damaged graph may go in circles
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
        """True if a node's output is quantized before anything else than a fused pointwise layer consumes it."""
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
        """The constant of the graph that a constant is made from; None for other tensors."""
        return self.graph.constants.get(self.origin(name))

    def array(self, name: str) -> npt.NDArray[np.float64] | None:
        """The numbers of a constant, flat; None when it is no constant, or its data is not here. Raises BadModel."""
        values = self.graph.array(self.origin(name))
        return None if values is None else np.asarray(values, np.float64).reshape(-1)

    def scale(self, node: onnx.NodeProto) -> npt.NDArray[np.float64] | None:
        """The scales of a QuantizeLinear or DequantizeLinear, flat; None when they are not known."""
        return self.array(operand(node, 1))

    def same_scale(self, one: onnx.NodeProto, other: onnx.NodeProto) -> bool:
        """True if two Q or DQ have equal scales, or none that is known."""
        a, b = self.scale(one), self.scale(other)
        return a is None or b is None or (a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=True)))

    def dims(self, tensor: str) -> tuple[int, ...] | None:
        """The shape of a constant behind Q, DQ, Cast and Transpose; None where something else reshapes it."""
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
        """The onnx type of a Q's output or a DQ's input; None when it is not known. ONNX's default is UINT8."""
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

    A Cast is looked through, for FP16 models have many and scales may stand behind one, but TensorRT moves no pair over
    it.
    """
    return commutes_with_rounding(node) or node.op_type == "Cast"
