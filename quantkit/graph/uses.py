"""What the nodes of a graph take, those in the subgraphs of If and Loop included."""

from __future__ import annotations

from collections.abc import Iterator

import onnx


def captured(node: onnx.NodeProto) -> Iterator[str]:
    """Names that the subgraphs of a node take; some may be their own."""
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from inner.input
                yield from captured(inner)


def drop_unused_constants(graph: onnx.GraphProto) -> None:
    """Remove the initializers that nothing takes any more."""
    used = {name for node in graph.node for name in (*node.input, *captured(node))}
    used |= {output.name for output in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
