"""Small graphs with Q/DQ pairs, built line by line, and the rules of the linter that each one breaks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from quantkit.targets.tensorrt.lint import lint

Found = set[tuple[str, str]]


class Builder:
    """Builds a graph line by line. ``x`` is its input; a node has the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.outputs: list[str] = []
        self.input_type = TensorProto.FLOAT
        self.opset = 13

    def constant(self, name: str, values: object, dtype: type = np.float32) -> str:
        self.constants[name] = numpy_helper.from_array(np.array(values, dtype), name)
        return name

    def add(self, op: str, *inputs: str, to: str, **attributes: object) -> str:
        """Add a node; a Conv states its kernel_shape unless that is None."""
        weight = next((self.constants[n] for n in self._weights(inputs) if n in self.constants), None)
        if op.startswith("Conv") and weight is not None:
            attributes.setdefault("kernel_shape", list(weight.dims)[2:])
        self.nodes.append(helper.make_node(op, inputs, [to], name=to, **attributes))
        return to

    @staticmethod
    def _weights(inputs: tuple[str, ...]) -> list[str]:
        """The names that a Conv's weight may have, in floating point and in front of its DequantizeLinear."""
        own = inputs[1] if len(inputs) > 1 else ""
        return [own, own.removesuffix("_d"), f"{own.removesuffix('_d')}_q"]

    def quantize(
        self, tensor: str, scale: object = 0.1, zero: object = 0, dtype: type = np.int8, name: str = "", **axis: int
    ) -> str:
        name = name or f"{tensor}_q"
        constants = self.constant(f"{name}_scale", scale), self.constant(f"{name}_zero", zero, dtype)
        return self.add("QuantizeLinear", tensor, *constants, to=name, **axis)

    def dequantize(self, quantized: str, like: str = "", to: str = "", **axis: int) -> str:
        like = like or quantized
        return self.add(
            "DequantizeLinear", quantized, f"{like}_scale", f"{like}_zero", to=to or f"{quantized[:-2]}_d", **axis
        )

    def pair(self, tensor: str, scale: float = 0.1) -> str:
        return self.dequantize(self.quantize(tensor, scale))

    def weight(self, name: str, *shape: int, axis: int = 0) -> str:
        values = np.random.default_rng(0).integers(-127, 128, shape)
        self.constant(f"{name}_q", values, np.int8)
        self.constant(f"{name}_q_scale", np.full(shape[axis], 0.01))
        self.constant(f"{name}_q_zero", np.zeros(shape[axis]), np.int8)
        return self.dequantize(f"{name}_q", axis=axis)

    def float_weight(self, name: str, *shape: int) -> str:
        return self.constant(name, np.random.default_rng(0).standard_normal(shape))

    def conv(self, tensor: str, to: str, inputs: int = 16, outputs: int = 16, **attributes: object) -> str:
        return self.add("Conv", tensor, self.weight(f"w_{to}", outputs, inputs, 1, 1), to=to, **attributes)

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "case",
            [helper.make_tensor_value_info("x", self.input_type, [1, 16, 8, 8])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.outputs],
            list(self.constants.values()),
        )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets)


class Cases(dict[str, tuple[Callable[[Builder], object], Found]]):
    """Builders of graphs by name, with the rules that each graph breaks and the node at fault."""

    def case(self, *found: tuple[str, str]) -> Callable[[Callable[[Builder], object]], Callable[[Builder], object]]:
        """A graph that ends in what the function returns, and the rules it breaks."""

        def register(build: Callable[[Builder], object]) -> Callable[[Builder], object]:
            self[build.__name__] = build, set(found)
            return build

        return register


def findings(build: Callable[[Builder], object]) -> Found:
    graph = Builder()
    end = build(graph)
    graph.outputs += [end] if isinstance(end, str) else list(end)  # type: ignore[call-overload]
    return {(f.rule, f.nodes[0] if f.nodes else "") for f in lint(graph.model())}


def layer_norm(g: Builder, x: str) -> str:
    mean = g.add("ReduceMean", x, to="mean", axes=[-1])
    centred = g.add("Sub", x, mean, to="centred")
    square = g.add("Pow", centred, g.constant("two", 2), to="square")
    variance = g.add("ReduceMean", square, to="variance", axes=[-1])
    root = g.add("Sqrt", g.add("Add", variance, g.constant("eps", 1e-5), to="above"), to="root")
    return g.add("Div", centred, root, to="normal")


def batch_norm(g: Builder, x: str) -> str:
    return g.add("BatchNormalization", x, *(g.constant(name, np.ones(16)) for name in "gbmv"), to="norm")
