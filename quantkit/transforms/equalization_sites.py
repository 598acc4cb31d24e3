"""The tensors of a graph whose channels can be scaled without changing what the model computes.

A factor per channel is moved from a tensor's producer into the weights of its consumers. This is done only where a
channel's extremes are known well, after a LayerNormalization and between the bounds of a Clip, or where much is gained:
in front of a matrix product that reads an activation times a number, because few of a transformer's channels fill the
range there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from quantkit.graph.graph import Graph, attribute, operand
from quantkit.graph.operators import AVERAGE_POOLS, GLOBAL_POOLS, PRODUCTS, clip_bounds, weight_output_axis

# The output has the input's channels with the same factors. For a pool, this is true only of channels along axis 1.
PASSING = {"Dropout", "Identity"}
POOLS = AVERAGE_POOLS | GLOBAL_POOLS | {"MaxPool"}
SHAPE_ONLY = {"Shape", "Size"}  # do not read values


@dataclass
class EqualizationSite:
    """A tensor that can be scaled, with the constants that scale it and the layers that undo the scaling.

    Attributes:
        tensors: All tensors that carry the factors.
        consumers: The weighted layers that undo the factors.
        constants: The constants to multiply by the factors, as (node, input position).
        start: The tensor whose channels must stay in its range.
        highest: The upper bound of a Clip.
        is_sum: True for what :func:`sums_from` finds, all of whose tensors must stay in their ranges.
        is_scaled: True for a product with one number.
    """

    tensors: list[str]
    consumers: list[onnx.NodeProto]
    constants: list[tuple[onnx.NodeProto, int]]
    start: str
    highest: float = np.inf
    is_sum: bool = False
    is_scaled: bool = False

    @property
    def is_clipped(self) -> bool:
        """True for the output of a Clip, with channels along axis 1; a LayerNormalization's lie along the last axis."""
        return self.highest < np.inf


def site_of(graph: Graph, node: onnx.NodeProto, products: bool = False) -> EqualizationSite | None:
    """Return the site that starts with a node's output; None if the output cannot be scaled, or nothing gains by it.

    ``products`` are taken into account where :func:`quantkit.transforms.equalization.equalize` says so.
    """
    site = _normalized(graph, node) or _clipped(graph, node) or (_scaled(graph, node) if products else None)
    if site is None or not _follow(graph, site.tensors[-1], site, not site.is_clipped):
        return None
    return site if site.consumers else None


def sums_from(graph: Graph, node: onnx.NodeProto) -> EqualizationSite | None:
    """Return the site of a Conv's output and of all sums that it goes into, where Convs alone give and read them.

    These are the bottlenecks of a MobileNetV2. Nothing bounds their values, so a rare large one may be cut off.
    """
    if node.op_type != "Conv":
        return None
    site = EqualizationSite([], [], [], node.output[0], is_sum=True)
    waiting = [node.output[0]]
    while waiting:
        name = waiting.pop()
        if name in site.tensors:
            continue
        giver = graph.producer(name)
        if giver is None or graph.must_keep(name):
            return None
        site.tensors.append(name)
        if giver.op_type == "Conv":
            if not all(own in graph.constants for own in giver.input[1:]):
                return None
            site.constants += [(giver, position) for position in range(1, len(giver.input))]
        elif giver.op_type == "Add" and not any(own in graph.constants for own in giver.input):
            waiting += giver.input
        else:
            return None
        for reader, position in graph.consumers(name):
            if reader.op_type == "Add" and not any(own in graph.constants for own in reader.input):
                waiting.append(reader.output[0])
            elif position == 0 and reader.op_type == "Conv" and _has_weight(graph, reader):
                site.consumers.append(reader)
            elif reader.op_type not in SHAPE_ONLY:
                return None
    return site if site.consumers else None


def weight_of(graph: Graph, node: onnx.NodeProto) -> npt.NDArray[np.float32] | None:
    """Return the constant weight of a Conv, Gemm or MatMul as (O, I / groups, taps); None for any other node."""
    if not _has_weight(graph, node):
        return None
    values = numpy_helper.to_array(graph.constants[operand(node, 1)])
    if weight_output_axis(node, values.ndim) == 1:
        values = values.T
    shaped: npt.NDArray[np.float32] = values.reshape(*values.shape[:2], -1)
    return shaped


def _has_weight(graph: Graph, node: onnx.NodeProto) -> bool:
    tensor = graph.constants.get(operand(node, 1))
    if tensor is None or tensor.data_type != TensorProto.FLOAT or node.op_type not in PRODUCTS:
        return False
    if node.op_type == "Conv":
        return len(tensor.dims) > 2
    return len(tensor.dims) == 2 and not (node.op_type == "Gemm" and attribute(node, "transA", 0))


def _normalized(graph: Graph, node: onnx.NodeProto) -> EqualizationSite | None:
    """Return the site of a LayerNormalization, or of its last steps in spelled-out form: times a constant, plus one."""
    if node.op_type == "LayerNormalization" and len(node.input) > 1:
        positions = range(1, len(node.input))
        fits = all(_is_vector(graph, node.input[i]) for i in positions)
        return EqualizationSite([node.output[0]], [], [(node, i) for i in positions], node.output[0]) if fits else None
    if node.op_type != "Add" or len(node.input) != 2:
        return None
    shift = [i for i, name in enumerate(node.input) if _is_vector(graph, name)]
    gain = graph.producer(node.input[1 - shift[0]]) if len(shift) == 1 else None
    if gain is None or gain.op_type != "Mul" or graph.only_consumer(gain.output[0]) is None:
        return None
    scale = [i for i, name in enumerate(gain.input) if _is_vector(graph, name)]
    source = graph.producer(gain.input[1 - scale[0]]) if len(scale) == 1 else None
    if source is None or source.op_type != "Div":
        return None
    return EqualizationSite([node.output[0]], [], [(gain, scale[0]), (node, shift[0])], node.output[0])


def _clipped(graph: Graph, node: onnx.NodeProto) -> EqualizationSite | None:
    """Return the site of a Clip to 0..b after a Conv. Both bounds stay, so no channel may grow beyond b."""
    bounds = clip_bounds(node, graph.constants)
    if bounds is None or bounds[0] != 0 or not 0 < bounds[1] < np.inf:
        return None
    conv = graph.producer(node.input[0])
    if conv is None or conv.op_type != "Conv" or graph.only_consumer(conv.output[0]) is None:
        return None
    if not all(name in graph.constants for name in conv.input[1:]):
        return None
    constants = [(conv, i) for i in range(1, len(conv.input))]
    return EqualizationSite([conv.output[0], node.output[0]], [], constants, node.output[0], bounds[1])


def _scaled(graph: Graph, node: onnx.NodeProto) -> EqualizationSite | None:
    """Return the site of a product with one number, such as the 0.5 at the end of a GELU that is spelled out.

    The number becomes a vector, which costs nothing.
    """
    if node.op_type != "Mul":
        return None
    numbers = [i for i, name in enumerate(node.input) if _is_number(graph, name)]
    if len(numbers) != 1 or node.input[1 - numbers[0]] in graph.constants:
        return None
    return EqualizationSite([node.output[0]], [], [(node, numbers[0])], node.output[0], is_scaled=True)


def _follow(graph: Graph, name: str, site: EqualizationSite, last: bool) -> bool:
    """Collect the consumers of a tensor; return False if one of them cannot undo the factors.

    ``last`` is True if the channels lie along the last axis, which matrix products sum over; Convs sum over axis 1.
    """
    if graph.must_keep(name):
        return False
    for node, position in graph.consumers(name):
        if node.op_type in SHAPE_ONLY:
            continue
        flattened = node.op_type == "Flatten" and attribute(node, "axis", 1) == 1 and _is_pooled(graph, name)
        passing = node.op_type in PASSING or (not last and (node.op_type in POOLS or flattened))
        if position == 0 and passing and len(node.output) == 1:
            site.tensors.append(node.output[0])
            if not _follow(graph, node.output[0], site, last or flattened):
                return False
        elif site.is_scaled and node.op_type == "Mul" and node.input[1 - position] not in site.tensors:
            site.tensors.append(node.output[0])
            if not _follow(graph, node.output[0], site, last):
                return False
        elif position == 0 and _has_weight(graph, node) and (node.op_type == "Conv") != last:
            site.consumers.append(node)
        else:
            return False
    return True


def _is_pooled(graph: Graph, name: str) -> bool:
    producer = graph.producer(name)
    return producer is not None and producer.op_type in GLOBAL_POOLS


def _is_number(graph: Graph, name: str) -> bool:
    tensor = graph.constants.get(name)
    return tensor is not None and tensor.data_type == TensorProto.FLOAT and list(tensor.dims) in ([], [1])


def _is_vector(graph: Graph, name: str) -> bool:
    tensor = graph.constants.get(name)
    if tensor is None or tensor.data_type != TensorProto.FLOAT:
        return False
    return len(tensor.dims) == 1 and tensor.dims[0] > 1
