"""A tensor taken apart along an axis, as by PyTorch's ``unbind``, written as one Gather a part.

PyTorch exports ``q, k, v = qkv.unbind(0)`` as a Split into parts of size 1, each of which a Squeeze follows. With a
dynamic batch and an optimization profile of exactly one image, TensorRT 8.6.0 computes an attention of such parts
wrongly, in FP32 and in FP16 (see docs/tensorrt.md). A Gather gives the same values, and TensorRT computes them rightly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from quantkit.graph.graph import Graph, attribute, drop_unused_constants, names_in, operand, unique_name
from quantkit.graph.operators import is_default_domain


def gathers_for_unbinds(graph: onnx.GraphProto) -> bool:
    """Write each Split whose parts all have size 1 and are squeezed as one Gather a part, in place.

    A Gather has the name and the output of its Squeeze.

    Args:
        graph: The graph of the model. Graphs inside If, Loop and Scan stay as they are.

    Returns:
        True if there was such a Split.
    """
    found = list(unbinds(Graph(graph)))
    if not found:
        return False
    names = names_in(graph)
    gathers: dict[str, onnx.NodeProto] = {}  # by the output of the Squeeze
    for split, parts in found:
        for position, squeezes in enumerate(parts):
            for squeeze in squeezes:
                index = unique_name(names, f"{squeeze.output[0]}_part")
                names.add(index)
                graph.initializer.append(numpy_helper.from_array(np.asarray(position, np.int64), index))
                gathers[squeeze.output[0]] = helper.make_node(
                    "Gather",
                    [split.input[0], index],
                    [squeeze.output[0]],
                    name=squeeze.name,
                    axis=attribute(split, "axis", 0),
                )
    gone = {name for split, _ in found for name in split.output}
    nodes = [gathers.get(node.output[0], node) for node in graph.node if node.output[0] not in gone]
    del graph.node[:]
    graph.node.extend(nodes)
    drop_unused_constants(graph)
    return True


def unbinds(graph: Graph) -> Iterator[tuple[onnx.NodeProto, Sequence[Sequence[onnx.NodeProto]]]]:
    """Yield each Split whose parts all have size 1 and are squeezed, with the Squeezes of each part."""
    for split in filter(is_default_domain, graph.of_type("Split")):
        axis = attribute(split, "axis", 0)
        sizes = attribute(split, "split", [])  # an attribute before opset 13
        if operand(split, 1):
            held = graph.array(operand(split, 1))
            sizes = [] if held is None else held.reshape(-1).tolist()
            if held is None:
                continue
        parts = [[use.node for use in graph.consumers(name)] for name in split.output]
        squeezed = all(_takes_away(node, axis, graph) for nodes in parts for node in nodes)
        kept = any(graph.must_keep(name) for name in split.output)
        # Without sizes all parts are equal, so that one which can be squeezed tells of all.
        if squeezed and not kept and (set(sizes) == {1} or (not sizes and any(parts))):
            yield split, parts


def _takes_away(node: onnx.NodeProto, axis: int, graph: Graph) -> bool:
    """True for a Squeeze of this axis alone."""
    if node.op_type != "Squeeze" or not is_default_domain(node):
        return False
    axes = attribute(node, "axes", [])  # an attribute before opset 13
    if operand(node, 1):
        held = graph.array(operand(node, 1))
        axes = [] if held is None else held.reshape(-1).tolist()
    return axes == [axis]
