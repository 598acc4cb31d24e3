"""Tables that a model looks up the values of an input in, such as an embedding of tokens."""

from __future__ import annotations

from quantkit.graph.graph import Graph, attribute

PASSES_ON = frozenset({"Cast", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


def rows_indexed(graph: Graph, name: str) -> int | None:
    """Return the fewest rows of the constants that a Gather takes values of a tensor as indices of; None for none.

    The values may have been cast or moved before.
    """
    found: list[int] = []
    waiting, seen = [name], {name}
    while waiting:
        for use in graph.consumers(waiting.pop()):
            node = use.node
            if node.op_type in PASSES_ON and use.position == 0:
                new = [output for output in node.output if output and output not in seen]
                waiting += new
                seen.update(new)
            elif node.op_type == "Gather" and use.position == 1 and node.input[0] in graph.constants:
                dims = graph.constants[node.input[0]].dims
                axis = attribute(node, "axis", 0)
                if len(dims) > 1 and -len(dims) <= axis < len(dims):
                    found.append(int(dims[axis]))
    return min(found, default=None)
