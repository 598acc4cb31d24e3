"""A model's contents, summarized for people."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from quantkit.graph.graph import Graph, activation_names
from quantkit.graph.model_file import ModelFile, read_graph
from quantkit.graph.model_io import ModelInput
from quantkit.graph.quantized import Quantization, graphs_of, quantization_of
from quantkit.graph.self_description import description_of
from quantkit.graph.sparsity import Sparsity, sparsity_of


@dataclass(frozen=True)
class Summary:
    """The contents of a model.

    Attributes:
        model: The model.
        parameters: The number of values in all initializers and Constant nodes, those of subgraphs included.
        operators: The number of nodes by operator, most frequent first, those of subgraphs included.
        quantization: How the model is quantized; None if it computes in floating point.
        sparsity: How sparse its weights are.
    """

    model: ModelFile
    parameters: int
    operators: dict[str, int]
    quantization: Quantization | None
    sparsity: Sparsity

    @property
    def rewritten(self) -> tuple[str, ...]:
        """What was done to the model when it was opened, in words."""
        return () if self.model.rewritten is None else self.model.rewritten.done

    @property
    def said(self) -> tuple[str, ...]:
        """What the model says of itself, in words."""
        own = description_of(self.model)
        if own is None:
            return ()
        task = f"the task {own.task!r}" if own.task else ""
        count = len(own.classes)
        named = ", ".join(own.classes[:3]) + (" …" if count > 3 else "")
        classes = f"{count} classes ({named})" if count else ""
        how = f"images prepared as: {own.preprocess.describe()}" if own.preprocess is not None else ""
        parts = "; ".join(part for part in (task, classes, how) if part)
        return (*((f"It says of itself, in {own.source}: {parts}.",) if parts else ()), *own.notes)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as values for JSON."""
        model = self.model
        return {
            "path": str(model.path),
            "sha256": model.sha256(),
            "opset": model.opset,
            "size_bytes": model.size_bytes,
            "parameters": self.parameters,
            "activations": len(activation_names(Graph(model.graph_only.graph))),
            "inputs": [_described(own) for own in model.inputs],
            "outputs": [_described(own) for own in model.outputs],
            "operators": self.operators,
            "rewritten": list(self.rewritten),
            "says": list(self.said),
            "sparsity": self.sparsity.to_dict(),
            "quantized": None if self.quantization is None else self.quantization.to_dict(),
        }


def _described(own: ModelInput) -> dict[str, Any]:
    return {"name": own.name, "shape": list(own.shape), "dtype": own.dtype, "batch_axis": own.batch_axis}


def summarize(model: ModelFile) -> Summary:
    """Count a model's parameters, operators and zeros."""
    parameters, operators = 0, Counter[str]()
    for graph in graphs_of(model.graph_only):
        view = Graph(graph)
        parameters += sum(math.prod(tensor.dims) for tensor in view.constants.values())
        operators.update(node.op_type for node in view.nodes)
    sparsity = sparsity_of(read_graph(model.path), model.path.parent)
    return Summary(model, parameters, dict(operators.most_common()), quantization_of(model.graph_only), sparsity)
