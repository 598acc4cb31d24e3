"""A model's contents, summarized for people."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from quantkit.graph.graph import Graph, activation_names
from quantkit.graph.model_file import ModelFile


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
            "inputs": [{"name": i.name, "shape": list(i.shape), "dtype": i.dtype} for i in model.inputs],
            "outputs": [{"name": o.name, "shape": list(o.shape), "dtype": o.dtype} for o in model.outputs],
            "operators": self.operators,
        }


def summarize(model: ModelFile) -> Summary:
    """Count a model's parameters and operators."""
    graph = model.graph_only.graph
    operators = Counter(node.op_type for node in graph.node)
    return Summary(model, sum(math.prod(tensor.dims) for tensor in graph.initializer), dict(operators.most_common()))
