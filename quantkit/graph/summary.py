"""A model's contents, summarized for people."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from quantkit.graph.graph import Graph, activation_names
from quantkit.graph.model_file import ModelFile
from quantkit.graph.model_io import ModelInput


@dataclass(frozen=True)
class Summary:
    """The contents of a model.

    Attributes:
        model: The model.
        parameters: The number of values in all initializers.
        operators: The number of nodes by operator, most frequent first.
    """

    model: ModelFile
    parameters: int
    operators: dict[str, int]

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
        }


def _described(own: ModelInput) -> dict[str, Any]:
    return {"name": own.name, "shape": list(own.shape), "dtype": own.dtype, "batch_axis": own.batch_axis}


def summarize(model: ModelFile) -> Summary:
    """Count a model's parameters and operators."""
    graph = model.graph_only.graph
    operators = Counter(node.op_type for node in graph.node)
    return Summary(model, sum(math.prod(tensor.dims) for tensor in graph.initializer), dict(operators.most_common()))
