"""The outputs of layers as outputs of an ONNX file: the user's model, or a model with Q/DQ pairs made from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from quantkit.core.errors import BadModel
from quantkit.core.wording import line_of
from quantkit.graph.fused import fused_outputs
from quantkit.graph.graph import Graph, activation_names, result
from quantkit.graph.model_file import read_graph
from quantkit.graph.operators import DEQUANTIZE, MOVING, QUANTIZE
from quantkit.qdq.metadata import shifted
from quantkit.runtime.activations import FLOAT_TYPES, with_outputs
from quantkit.runtime.out_of_reach import out_of_reach
from quantkit.runtime.session import cpu_session


@dataclass(frozen=True)
class Layer:
    """A node of the user's model, or one of its inputs.

    Attributes:
        name: The name of the node, or of its output if the node has no name.
        tensor: The name of the output.
        kind: The operator, or "Input".
    """

    name: str
    tensor: str
    kind: str


def layers_of(graph: onnx.GraphProto) -> list[Layer]:
    """Return the inputs and the output of every node that computes, in graph order.

    Nodes that are fused into one kernel count as the last of them. Nodes that only move values are not layers.
    """
    view = Graph(graph)
    activations, fused = set(activation_names(view)), fused_outputs(view)
    found = [Layer(name, name, "Input") for name in view.inputs]
    for node in view.nodes:
        if node.op_type not in MOVING:
            names = [name for name in node.output if name in activations and name not in fused]
            found += [Layer(node.name or name, name, node.op_type) for name in names]
    return found


class OnnxOutputs:
    """Floating-point tensors of an ONNX file as its outputs, computed by onnxruntime on the CPU.

    Args:
        file: The ONNX file.
        proto: The model in it, with or without weights.
        external: True if the file's weights are in other files.
        tensors: The wanted tensors, each with its name in the file.
        offsets: Numbers to add to some of the wanted tensors.

    Raises:
        BadModel: onnxruntime cannot load the file.
    """

    def __init__(
        self,
        file: Path,
        proto: onnx.ModelProto,
        external: bool,
        tensors: Mapping[str, str],
        offsets: Mapping[str, float] | None = None,
    ) -> None:
        self._offsets = offsets or {}
        inputs = {value.name for value in proto.graph.input}
        out = out_of_reach(proto, file)
        more = set(tensors.values()) - {value.name for value in proto.graph.output} - inputs - out.tensors
        with with_outputs(file, external, sorted(more), out) as source:
            self._session = cpu_session(source, file.parent if external else None)
        known = {v.name for v in (*self._session.get_outputs(), *self._session.get_inputs()) if v.type in FLOAT_TYPES}
        self._tensors = {name: own for name, own in tensors.items() if own in known}
        self._fetched = sorted(set(self._tensors.values()) - inputs)

    @classmethod
    def of_quantized(cls, file: Path, tensors: Collection[str]) -> OnnxOutputs:
        """Open a file with Q/DQ pairs that quantkit wrote.

        Args:
            file: The ONNX file.
            tensors: The wanted tensors, by their names in the original model.

        Returns:
            The tensors that the file has.

        Raises:
            BadModel: The file cannot be read, or onnxruntime cannot load it.
        """
        model = read_graph(file)
        present = {name for node in model.graph.node for name in node.output}
        moved = {name: own for name, own in shifted(model).items() if name in tensors and own[0] in present}
        names = quantized_names(model.graph, tensors) | {name: own for name, (own, _) in moved.items()}
        external = (file.parent / f"{file.name}.data").is_file()
        return cls(file, model, external, names, {name: offset for name, (_, offset) in moved.items()})

    @property
    def names(self) -> tuple[str, ...]:
        """The wanted tensors that are available in floating point."""
        return tuple(self._tensors)

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Run one batch.

        Args:
            inputs: The arrays of the batch, by input.

        Returns:
            The tensors, by their wanted names.

        Raises:
            BadModel: The model fails on the batch.
        """
        try:
            found = self._session.run(self._fetched, dict(inputs)) if self._fetched else []
        except Exception as error:
            raise BadModel(
                f"onnxruntime cannot compute the layers' outputs ({line_of(error)}).", "Leave it out."
            ) from error
        values = dict(inputs) | dict(zip(self._fetched, found, strict=True))
        return {
            name: values[own] + np.float32(self._offsets[name]) if name in self._offsets else values[own]
            for name, own in self._tensors.items()
        }


def quantized_names(graph: onnx.GraphProto, tensors: Collection[str]) -> dict[str, str]:
    """Return where a Q/DQ graph holds the INT8 values of the original model's tensors.

    This is after the tensor's pair of QuantizeLinear and DequantizeLinear, if it has one.

    Args:
        graph: The Q/DQ graph.
        tensors: The wanted tensors, by their names in the original model.

    Returns:
        The name in the graph of each wanted tensor, without those that are not in the graph.
    """
    view = Graph(graph)
    found = {}
    for tensor in tensors:
        pairs = (
            dequantize.output[0]
            for quantize, position in view.consumers(tensor)
            if quantize.op_type == QUANTIZE and position == 0
            for dequantize, _ in view.consumers(result(quantize))
            if dequantize.op_type == DEQUANTIZE
        )
        name = next(pairs, tensor if tensor in view.inputs or view.producer(tensor) is not None else None)
        if name is not None:
            found[tensor] = name
    return found
