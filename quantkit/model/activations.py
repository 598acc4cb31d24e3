"""Every float activation of a model, computed in one session."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import onnx

from quantkit.core.errors import BadInput
from quantkit.model.file import ModelFile
from quantkit.model.session import cpu_session

FLOAT_TYPES = {"tensor(float)", "tensor(float16)", "tensor(double)"}


class ActivationSession:
    """Runs the model in FP32 on the CPU and returns all float activations by tensor name.

    Activations are the graph's inputs and every node output that depends on one; tensors computed from weights alone
    are not. ``keep`` filters them by name. ``names`` holds them in graph order. Raises BadInput when none is left.
    """

    def __init__(self, model: ModelFile, keep: Callable[[str], bool] = lambda name: True) -> None:
        self._float_inputs = [i.name for i in model.inputs if i.dtype.startswith("float") and keep(i.name)]
        proto = onnx.ModelProto()
        proto.CopyFrom(model.graph_only)
        given = {output.name for output in proto.graph.output}
        dependent = activation_names(proto.graph)
        # onnxruntime infers the types of outputs that are declared by name alone.
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dependent if name not in given)
        self._session = cpu_session(proto, model.path.parent if model.external_files else None)
        floats = {o.name for o in self._session.get_outputs() if o.type in FLOAT_TYPES}
        self._fetched = [name for name in dependent if name in floats and keep(name)]
        self.names = self._float_inputs + self._fetched
        if not self._fetched:
            raise BadInput(f"{model.path} has no float activation to measure.", "Exclude less with --exclude.")

    def run(self, inputs: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, npt.NDArray[np.float32]]:
        """One batch; float32 arrays of any shape. Raises BadInput when the model cannot take the batch."""
        try:
            outputs = self._session.run(self._fetched, dict(inputs))
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            shapes = ", ".join(f"{name} {array.shape}" for name, array in inputs.items())
            raise BadInput(
                f"The model failed on an input of shape {shapes} ({reason}).",
                "Check the preprocessing size and layout against the model.",
            ) from error
        named = {name: inputs[name] for name in self._float_inputs} | dict(zip(self._fetched, outputs, strict=True))
        return {name: np.asarray(array, dtype=np.float32) for name, array in named.items()}


def activation_names(graph: onnx.GraphProto) -> list[str]:
    """Names of node outputs that depend on a graph input, in graph order."""
    weights = {tensor.name for tensor in graph.initializer}
    dependent = {value.name for value in graph.input if value.name not in weights}
    names = []
    for node in graph.node:
        # A node with a subgraph may take tensors of this graph that its input list does not show.
        has_subgraph = any(attribute.HasField("g") for attribute in node.attribute)
        if has_subgraph or any(name in dependent for name in node.input):
            produced = [name for name in node.output if name]
            dependent.update(produced)
            names += produced
    return names
