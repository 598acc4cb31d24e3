"""A graph with Q/DQ pairs, as the rules look at it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import uses_external_data

from quantkit.core.errors import BadInput
from quantkit.graph.uses import captured
from quantkit.qdq.placement import is_nearest_resize

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
# Layers over which TensorRT moves Q and DQ, for they only choose and move values.
COMMUTING = {
    "Cast", "DepthToSpace", "Dropout", "Expand", "Flatten", "Identity", "MaxPool", "Reshape", "Slice", "SpaceToDepth",
    "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip
ACTIVATIONS = {
    "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Relu", "Selu", "Sigmoid",
    "Softplus", "Swish", "Tanh",
}  # fmt: skip
POINTWISE = ACTIVATIONS | {"Add", "Div", "Mul", "Sub"}
AVERAGE_POOLS = {"AveragePool", "GlobalAveragePool"}


class View:
    """Who makes and who takes each tensor, looking through layers that commute with Q/DQ. Main graph only."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.nodes = list(graph.node)
        self.opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
        self.outputs = {value.name for value in graph.output}
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.producers = {name: node for node in self.nodes for name in node.output if name}
        self.consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            value = next((a for a in node.attribute if a.name == "value"), None)
            if node.op_type == "Constant" and value is not None and node.output:
                self.tensors[node.output[0]] = value.t
            for name in {*node.input, *captured(node)}:
                self.consumers[name].append(node)
        self.constants = set(self.tensors)
        for node in self.nodes:  # what a builder folds, in the order of the graph
            foldable = node.op_type in COMMUTING | {QUANTIZE, DEQUANTIZE}
            if foldable and node.input and all(not name or name in self.constants for name in node.input):
                self.constants.update(node.output)

    def all(self, *op_types: str) -> Iterator[onnx.NodeProto]:
        """The nodes of these types."""
        return (node for node in self.nodes if node.op_type in op_types)

    def origin(self, tensor: str) -> str:
        """The tensor that becomes this one by moving values about."""
        way = self.way(tensor)
        return operand(self.producers[way[-1]], 0) if way else tensor

    def maker(self, tensor: str) -> onnx.NodeProto | None:
        """The node whose values these are."""
        return self.producers.get(self.origin(tensor))

    def dequantize(self, tensor: str) -> onnx.NodeProto | None:
        """The DequantizeLinear that the tensor comes from; None where it is in floating point."""
        node = self.maker(tensor)
        return node if node is not None and node.op_type == DEQUANTIZE else None

    def unpaired(self, tensor: str) -> str:
        """The tensor that a pair on this one quantizes; without a pair the one whose values these are."""
        node = self.dequantize(tensor)
        quantize = None if node is None else self.maker(operand(node, 0))
        if quantize is None or quantize.op_type != QUANTIZE:
            return self.origin(tensor)
        return self.origin(operand(quantize, 0))

    def users(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that compute with the tensor's values."""
        found: dict[int, onnx.NodeProto] = {}
        waiting, seen = [tensor], set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            for node in self.consumers[name]:
                if commutes(node) and operand(node, 0) == name:
                    waiting.extend(node.output)
                else:
                    found[id(node)] = node
        return list(found.values())

    def way(self, tensor: str) -> list[str]:
        """The tensors between this one, included, and its origin, not included: what commuting layers give."""
        found: dict[str, None] = {}  # in order; a damaged graph may go in circles
        while tensor not in found and (node := self.producers.get(tensor)) is not None and commutes(node):
            found[tensor] = None
            tensor = operand(node, 0)
        return list(found)

    def given_to(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes that compute with what a node gives."""
        return [user for name in node.output for user in self.users(name)]

    def users_after_pair(self, quantize: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes that compute with what a QuantizeLinear and its DequantizeLinear give."""
        return [user for node in self.given_to(quantize) if node.op_type == DEQUANTIZE for user in self.given_to(node)]

    def activations(self, node: onnx.NodeProto) -> list[str]:
        """The inputs that are no constants; of other than pointwise layers and Concat the first alone."""
        inputs = (
            node.input if node.op_type in POINTWISE | WEIGHTED | {"Concat", "Sum", "Max", "Min"} else node.input[:1]
        )
        return [name for name in inputs if name and name not in self.constants]

    def activated(self, node: onnx.NodeProto) -> str:
        """What a node gives, behind the activations that it is fused with: one by one, x · sigmoid(x) included."""
        given = result(node)
        seen: set[str] = set()  # a damaged graph may go in circles
        while given not in seen and (users := self.users(given)):
            seen.add(given)
            gates = [user for user in users if user.op_type in ACTIVATIONS]
            products = [user for user in users if user.op_type == "Mul"]
            if len(users) == len(gates) == 1:
                given = result(gates[0])
            elif len(users) == 2 and gates and products and result(gates[0]) in products[0].input:
                given = result(products[0])
            else:
                break
        return given

    def in_int8(self, node: onnx.NodeProto) -> bool:
        """True if a Conv, ConvTranspose, Gemm or MatMul has pairs on both operands."""
        return node.op_type in WEIGHTED and all(self.dequantize(operand(node, i)) is not None for i in (0, 1))

    def ends_quantized(self, node: onnx.NodeProto) -> bool:
        """True if what a node gives is quantized before anything else than a fused pointwise layer takes it."""
        waiting, seen = [node], {id(node)}
        while waiting:
            for user in self.given_to(waiting.pop()):
                if user.op_type == QUANTIZE:
                    return True
                if user.op_type in POINTWISE and id(user) not in seen:
                    seen.add(id(user))
                    waiting.append(user)
        return False

    def array(self, name: str) -> npt.NDArray[np.float64] | None:
        """The numbers of a constant, flat; None when it is no constant, or its data is not here."""
        tensor = self.tensors.get(self.origin(name))
        if tensor is None or uses_external_data(tensor):
            return None
        try:
            return np.asarray(numpy_helper.to_array(tensor), np.float64).reshape(-1)
        except Exception as error:
            raise BadInput(f"The constant {name!r} is damaged ({error}).", "Write the model again.") from error

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
        while tensor not in self.tensors and tensor not in seen:
            seen.add(tensor)
            node = self.producers.get(tensor)
            if node is None or node.op_type not in (QUANTIZE, DEQUANTIZE, "Cast", "Identity", "Transpose"):
                return None
            if node.op_type == "Transpose":
                permutations.append(next((list(a.ints) for a in node.attribute if a.name == "perm"), None))
            tensor = operand(node, 0)
        if tensor not in self.tensors:
            return None
        dims = list(self.tensors[tensor].dims)
        for order in reversed(permutations):
            order = list(reversed(range(len(dims)))) if order is None else order
            if sorted(order) != list(range(len(dims))):
                return None
            dims = [dims[i] for i in order]
        return tuple(dims)

    def quantized_type(self, node: onnx.NodeProto) -> int | None:
        """The onnx type of a Q's output or a DQ's input; None when it is not known. ONNX's default is UINT8."""
        zero_point = self.tensors.get(self.origin(operand(node, 2)))
        if zero_point is not None:
            return int(zero_point.data_type)
        if node.op_type == DEQUANTIZE:
            stored = self.tensors.get(self.origin(operand(node, 0)))
            if stored is not None:
                return int(stored.data_type)
            quantize = self.maker(operand(node, 0))
            return self.quantized_type(quantize) if quantize is not None and quantize.op_type == QUANTIZE else None
        return integer(node, "output_dtype", 0) or (TensorProto.UINT8 if not operand(node, 2) else None)


def commutes(node: onnx.NodeProto) -> bool:
    """True if TensorRT moves Q and DQ over a layer."""
    return node.op_type in COMMUTING or is_nearest_resize(node)


def operand(node: onnx.NodeProto, position: int) -> str:
    """An input's name; empty when it is left out."""
    return node.input[position] if position < len(node.input) else ""


def result(node: onnx.NodeProto) -> str:
    """The first output's name."""
    return node.output[0] if node.output else ""


def label(node: onnx.NodeProto) -> str:
    """What a node is called: by its name, or its output."""
    return node.name or result(node) or node.op_type


def integer(node: onnx.NodeProto, name: str, default: int) -> int:
    """An integer attribute."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)
