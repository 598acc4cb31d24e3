"""Builds small ONNX models with random weights and inputs, for check_same_graphs.py."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SAMPLES = 104  # from 100 on channels are equalized behind a Clip, and a strange sample is left out of the error
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
IR_VERSION = 8


class Builder:
    """A graph under construction. Every method that adds a node returns the name of its output.

    Weights and inputs depend on ``name`` alone. The last sample of a ``strange`` one is ten times as large.
    """

    def __init__(self, name: str, opset: int = 17, strange: bool = False) -> None:
        self.name, self.opset, self.strange = name, opset, strange
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.data: dict[str, np.ndarray] = {}

    def input(self, name: str, *shape: int, dtype: int = FLOAT, batch: int | str = "N") -> str:
        """An input of this shape a sample, and its data: normal, with a few values five times as large."""
        self.inputs.append(helper.make_tensor_value_info(name, dtype, [batch, *shape]))
        values = self.rng.normal(size=(SAMPLES, *shape)) * np.where(self.rng.random((SAMPLES, *shape)) < 0.01, 5, 1)
        values[-1] *= 10 if self.strange else 1
        self.data[name] = values.astype(helper.tensor_dtype_to_np_dtype(dtype))
        return name

    def output(self, name: str, rank: int = 2, dtype: int = FLOAT, batch: int | str = "N") -> None:
        """An output of the graph; only its rank is stated."""
        dims = [batch, *(f"{name}_{axis}" for axis in range(1, rank))]
        self.outputs.append(helper.make_tensor_value_info(name, dtype, dims))

    def constant(self, values: Any, dtype: Any = np.float32, name: str | None = None) -> str:
        """An initializer."""
        name = name or f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def weight(self, *shape: int, spread: float = 0.5, dtype: Any = np.float32, axis: int = 0) -> str:
        """A random weight whose output channels along ``axis`` differ in size; the last one is zero."""
        fan = int(np.prod(shape)) / shape[axis]
        sizes = np.exp(self.rng.normal(size=shape[axis]) * spread)
        sizes[-1] = 0 if shape[axis] > 4 else 1
        values = self.rng.normal(size=shape) * np.sqrt(2 / fan)
        values *= sizes.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        return self.constant(values, dtype, f"weight_{len(self.constants)}")

    def vector(self, size: int, low: float = -0.2, high: float = 0.2) -> str:
        """A bias, or a BatchNormalization's parameter."""
        return self.constant(self.rng.uniform(low, high, size))

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Any node of one output."""
        return self.nodes_of(kind, inputs, 1, **attributes)[0]

    def nodes_of(self, kind: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        """Any node of ``count`` outputs."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        outputs = [f"{name}_out{number or ''}" for number in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, name=name, **attributes))
        return outputs

    def conv(
        self, x: str, given: int, put: int, size: int = 3, pad: int | None = None, bias: bool = True, **more: Any
    ) -> str:
        """A Conv with a weight of its own; as many pixels come out, unless ``pad`` or strides say otherwise."""
        weight = self.weight(put, given // more.get("group", 1), size, size)
        around = size // 2 if pad is None else pad
        return self.node("Conv", x, weight, *([self.vector(put)] if bias else []), pads=[around] * 4, **more)

    def conv_relu(self, *arguments: Any, **more: Any) -> str:
        """A Conv and a ReLU."""
        return self.node("Relu", self.conv(*arguments, **more))

    def clip(self, x: str, low: float = 0, high: float = 6) -> str:
        """A Clip with bounds as inputs: ReLU6, if not said otherwise."""
        return self.node("Clip", x, self.constant(low), self.constant(high))

    def norm(self, x: str, channels: int) -> str:
        """A BatchNormalization."""
        parameters = [self.vector(channels, *bounds) for bounds in ((0.5, 2), (-0.5, 0.5), (-0.2, 0.2), (0.5, 2))]
        return self.node("BatchNormalization", x, *parameters)

    def matmul(self, x: str, rows: int, columns: int, bias: bool = True) -> str:
        """A MatMul with a constant, and an Add of a bias."""
        product = self.node("MatMul", x, self.weight(rows, columns, axis=1))
        return self.node("Add", product, self.vector(columns)) if bias else product

    def gemm(self, x: str, given: int, put: int, transposed: bool = True, bias: bool = True, **more: Any) -> str:
        """A Gemm with a constant, transposed or not."""
        weight = self.weight(put, given) if transposed else self.weight(given, put, axis=1)
        return self.node("Gemm", x, weight, *([self.vector(put)] if bias else []), transB=int(transposed), **more)

    def head(self, x: str, channels: int, classes: int = 10) -> None:
        """A global average, a Gemm of fewer than 16 rows, and the output."""
        pooled = self.node("Flatten", self.node("GlobalAveragePool", x))
        self.output(self.gemm(pooled, channels, classes))

    def model(self) -> onnx.ModelProto:
        """The finished model; graphs that ONNX's own checker would refuse are built so on purpose."""
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.constants)
        imports = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=imports, producer_name="check_same")
        model.ir_version = 10 if self.opset > 20 else IR_VERSION
        return model
