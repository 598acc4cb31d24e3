"""What layers put out, as more outputs of an ONNX file: the user's model, or one with Q/DQ pairs made from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from quantkit.core.errors import BadModel
from quantkit.graph.fused import fused_outputs
from quantkit.graph.model_file import read_graph
from quantkit.runtime.activations import FLOAT_TYPES, activation_names, with_outputs
from quantkit.runtime.session import cpu_session
from quantkit.targets.tensorrt.qdq.zero_points import shifted

# What they put out, they took in.
MOVING = {"Cast", "Dropout", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Shape", "Slice", "Split",
          "Squeeze", "Tile", "Transpose", "Unsqueeze"}  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """A node of the user's model, or an input of it: ``kind`` is the operator or "Input"."""

    name: str
    tensor: str
    kind: str


def layers_of(graph: onnx.GraphProto) -> list[Layer]:
    """The inputs and every node that computes, in graph order; what is fused into one kernel is its last node."""
    weights = {tensor.name for tensor in graph.initializer}
    activations, fused = set(activation_names(graph)), fused_outputs(graph)
    found = [Layer(value.name, value.name, "Input") for value in graph.input if value.name not in weights]
    for node in graph.node:
        if node.op_type not in MOVING:
            names = [name for name in node.output if name in activations and name not in fused]
            found += [Layer(node.name or name, name, node.op_type) for name in names]
    return found


class OnnxOutputs:
    """Floating-point tensors of an ONNX file as its outputs, computed by onnxruntime on the CPU.

    ``graph`` is the file's, ``external`` says that its weights lie in other files, ``tensors`` how a wanted tensor is
    called in it, and ``offsets`` what is added to some of them. Raises BadModel for what onnxruntime cannot load.
    """

    def __init__(
        self,
        file: Path,
        graph: onnx.GraphProto,
        external: bool,
        tensors: Mapping[str, str],
        offsets: Mapping[str, float] | None = None,
    ) -> None:
        self._offsets = offsets or {}
        inputs = {value.name for value in graph.input}
        more = set(tensors.values()) - {value.name for value in graph.output} - inputs
        with with_outputs(file, external, sorted(more)) as source:
            self._session = cpu_session(source, file.parent if external else None)
        known = {v.name for v in (*self._session.get_outputs(), *self._session.get_inputs()) if v.type in FLOAT_TYPES}
        self._tensors = {name: own for name, own in tensors.items() if own in known}
        self._fetched = sorted(set(self._tensors.values()) - inputs)

    @classmethod
    def of_quantized(cls, file: Path, tensors: Collection[str]) -> OnnxOutputs:
        """Those of a file with Q/DQ pairs that quantkit wrote, by their names in the model that it was made from."""
        model = read_graph(file)
        present = {name for node in model.graph.node for name in node.output}
        moved = {name: own for name, own in shifted(model).items() if name in tensors and own[0] in present}
        names = quantized_names(model.graph, tensors) | {name: own for name, (own, _) in moved.items()}
        external = (file.parent / f"{file.name}.data").is_file()
        return cls(file, model.graph, external, names, {name: offset for name, (_, offset) in moved.items()})

    @property
    def names(self) -> tuple[str, ...]:
        """The wanted tensors that are here, in floating point."""
        return tuple(self._tensors)

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """One batch; the tensors by their wanted names. Raises BadModel when it fails."""
        try:
            found = self._session.run(self._fetched, dict(inputs)) if self._fetched else []
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BadModel(f"onnxruntime cannot compute the layers' outputs ({reason}).", "Leave it out.") from error
        values = dict(inputs) | dict(zip(self._fetched, found, strict=True))
        return {
            name: values[own] + np.float32(self._offsets[name]) if name in self._offsets else values[own]
            for name, own in self._tensors.items()
        }


def quantized_names(graph: onnx.GraphProto, tensors: Collection[str]) -> dict[str, str]:
    """How the wanted tensors of a model are called where their INT8 values are, in the Q/DQ graph made from it.

    That is behind the tensor's pair of QuantizeLinear and DequantizeLinear, if it has one. Those not there are left
    out.
    """
    takers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input[:1]:
            takers[name].append(node)
    present = {value.name for value in graph.input} | {name for node in graph.node for name in node.output}
    found = {}
    for tensor in tensors:
        pairs = (
            dequantize.output[0]
            for quantize in takers[tensor]
            if quantize.op_type == "QuantizeLinear"
            for dequantize in takers[quantize.output[0]]
            if dequantize.op_type == "DequantizeLinear"
        )
        name = next(pairs, tensor if tensor in present else None)
        if name is not None:
            found[tensor] = name
    return found
