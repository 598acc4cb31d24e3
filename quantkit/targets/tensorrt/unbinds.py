"""A tensor that is cut into single parts along an axis, as by PyTorch's ``unbind``, written as one Gather a part.

PyTorch exports ``q, k, v = qkv.unbind(0)`` as a Split into parts of size 1 with a Squeeze behind each. An attention of
such parts is computed wrongly by TensorRT 8.6.0 where a profile is of exactly one image, in FP32 as in FP16, and so is
one with a Reshape in a Squeeze's place (docs/tensorrt.md). With Gathers, which give the same values, it is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from quantkit.core.releases import Release
from quantkit.graph.graph import Graph, attribute, drop_unused_constants, names_in, operand, result, unique_name
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
    proto = replace(model, weights={}).load()  # replaced weights are put in by name, as before
    gathers_for_unbinds(proto.graph)
    done = *(model.rewritten.done if model.rewritten else ()), "Splits into single parts written as Gathers"
    return replace(model, graph_only=without_weights(proto), rewritten=Rewritten(proto, done))


def gathers_for_unbinds(graph: onnx.GraphProto) -> bool:
    """Write each Split of :func:`unbinds` as Gathers, in place, which have the names of what they replace.

    Args:
        graph: The graph of the model. Graphs inside If, Loop and Scan stay as they are.

    Returns:
        True if there was such a Split.
    """
    view, names = Graph(graph), names_in(graph)
    gathers: dict[str, onnx.NodeProto] = {}  # by their output

    def gather(split: onnx.NodeProto, index: int | list[int], output: str, name: str) -> None:
        held = unique_name(names, f"{output}_index")
        names.add(held)
        graph.initializer.append(numpy_helper.from_array(np.asarray(index, np.int64), held))
        inputs, axis = [split.input[0], held], attribute(split, "axis", 0)
        gathers[output] = helper.make_node("Gather", inputs, [output], name=name, axis=axis)

    found = list(unbinds(view))
    for split in found:
        for position, part in enumerate(split.output):
            readers = [use.node for use in view.consumers(part)]
            for reader in (node for node in readers if node.op_type != "Reshape"):
                gather(split, position, reader.output[0], reader.name)
            if any(node.op_type == "Reshape" for node in readers):  # it reads the part with its axis of size 1
                gather(split, [position], part, unique_name(names, f"{part}_gather"))
    gone = {id(split) for split in found}
    nodes: list[onnx.NodeProto] = []
    for node in view.nodes:
        if id(node) in gone:
            nodes += [gathers[part] for part in node.output if part in gathers]
        else:
            nodes.append(gathers.get(result(node), node))
    del graph.node[:]
    graph.node.extend(nodes)
    drop_unused_constants(graph)
    return bool(found)


def unbinds(graph: Graph) -> Iterator[onnx.NodeProto]:
    """Yield each Split into parts of size 1 along an axis that all readers of the parts take away.

    These are a Squeeze of that axis, a Gather of its only index, and a Reshape.
    """
    for split in filter(is_default_domain, graph.of_type("Split")):
        axis = attribute(split, "axis", 0)
        readers = [[use.node for use in graph.consumers(name)] for name in split.output]
        if any(graph.must_keep(name) for name in split.output) or not _in_ones(split, readers[0], graph):
            continue
        if all(_takes_away(node, axis, graph) for nodes in readers for node in nodes):
            yield split


def _in_ones(split: onnx.NodeProto, readers: Sequence[onnx.NodeProto], graph: Graph) -> bool:
    """True if all parts of a Split have size 1, as far as its sizes or the readers of its first part tell."""
    sizes = attribute(split, "split", [])  # an attribute before opset 13
    if operand(split, 1):
        held = graph.array(operand(split, 1))
        return held is not None and set(held.reshape(-1).tolist()) == {1}
    # Without sizes no part is larger than the first, whose Squeeze tells that its size is 1.
    return set(sizes) == {1} if sizes else any(node.op_type == "Squeeze" for node in readers)


def _takes_away(node: onnx.NodeProto, axis: int, graph: Graph) -> bool:
    """True for a node that takes away this axis of size 1, and no other, or that shapes all axes anew."""
    if node.op_type == "Reshape":
        return True
    if node.op_type == "Gather":
        index = graph.array(operand(node, 1))
        return index is not None and index.shape == () and index in (0, -1) and attribute(node, "axis", 0) == axis
    if node.op_type != "Squeeze":
        return False
    axes = attribute(node, "axes", [])  # an attribute before opset 13
    if operand(node, 1):
        held = graph.array(operand(node, 1))
        axes = [] if held is None else held.reshape(-1).tolist()
    return axes == [axis]
