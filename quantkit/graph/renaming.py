"""Renaming of tensors, in a graph and in the graphs inside it. ONNX allows no name to be used twice among them."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from quantkit.graph.graph import subgraphs


def rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename tensors everywhere.

    Args:
        graph: The graph; it is edited.
        names: The new names by old name. They must not be in use.
    """
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for inner in subgraphs(node):
            rename(inner, names)
