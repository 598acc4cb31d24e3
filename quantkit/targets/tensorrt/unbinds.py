"""A tensor that is cut into single parts along an axis, as by PyTorch's ``unbind``, written as one Gather a part.

PyTorch exports ``q, k, v = qkv.unbind(0)`` as a Split into parts of size 1 with a Squeeze behind each. An attention of
such parts is computed wrongly by TensorRT 8.6.0 where a profile is of exactly one image, in FP32 as in FP16
(docs/tensorrt.md). With Gathers, which give the same values, it is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from quantkit.core.releases import Release
from quantkit.graph.graph import Graph, attribute, drop_unused_constants, names_in, operand, unique_name
from quantkit.graph.model_file import ModelFile, Rewritten, without_weights
from quantkit.graph.operators import is_default_domain
from quantkit.targets.tensorrt.engine.plan import FIRST_STRONG


def misread_by(release: Release | None) -> bool:
    """True for a release of TensorRT that is to get Gathers, and where none is named: 8.6.0 is known to need them.

    TensorRT 10 and newer were not tried on a GPU.
    """
    return release is None or release < FIRST_STRONG


def without_unbinds(model: ModelFile) -> ModelFile:
    """Return a model whose Splits into single parts are Gathers: the model itself if it has none, else a copy."""
    if next(unbinds(Graph(model.graph_only.graph)), None) is None:
        return model
    proto = onnx.ModelProto()
    proto.CopyFrom(replace(model, weights={}).load())  # replaced weights are put in by name, as before
    gathers_for_unbinds(proto.graph)
    done = *(model.rewritten.done if model.rewritten else ()), "Splits into single parts written as Gathers"
    return replace(model, graph_only=without_weights(proto), rewritten=Rewritten(proto, done))


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
