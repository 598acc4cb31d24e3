"""Pairs that TensorRT needs because of other pairs: on chains of sums, on shortcuts, and around what they move over.

If one layer consumes a tensor through a pair, and another one without a pair or through a pair with another scale, the
tensor stays in floating point and a separate kernel rounds it: the layer that computes the tensor cannot round it.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx

from quantkit.graph.graph import Graph, attribute, operand
from quantkit.graph.operators import commutes_with_rounding, is_nearest_resize, moves_values
from quantkit.qdq.placement import Placement

LARGEST_STEP = 2.0  # of a shortcut's own: one bit is given up for a scale that both ends share, and no more


def pair_sums_in_chains(placement: Placement) -> None:
    """Pair each sum that is not fused with a Conv if all its consumers, including the next sum, are paired.

    Nodes are visited from the last to the first: in a row of residual blocks, each sum is consumed by the next block's
    Conv and by its sum.
    """
    paired = {name for _, name, _ in placement.edges}
    for node in reversed(placement.graph.nodes):
        if node.op_type != "Add" or node.name in placement.left or node.name in paired:
            continue
        if all(name in placement.ranges for name in node.input) and _all_consumers_paired(placement, node.output[0]):
            placement.edges |= {(name, node.name, position) for position, name in enumerate(node.input)}


def pair_shortcuts(placement: Placement) -> None:
    """Pair a shortcut where it begins, too, if it only takes parts of a tensor and adds zeros, and ends in a pair.

    A ResNet for small images has such shortcuts: two Slices and a Pad. If the other consumers take the tensor through
    pairs, the layer that computes it can round it, and the shortcut moves integers; otherwise it would hand out the
    tensor in floating point, to be rounded by one more kernel on either path. Both ends share a scale, unless the
    shortcut's range is less than half as wide.
    """
    for node in placement.graph.of_type("Add"):
        ends = [name for name in node.input if any((name, node.name, at) in placement.edges for at in (0, 1))]
        for end in ends:
            first = _shortcut_to(placement, end)
            if first is None:
                continue
            begin = first.input[0]
            others = [own for own in placement.graph.consumers(begin) if own[0] is not first]
            known = others and begin in placement.ranges and not placement.graph.must_keep(begin)
            paired = known and all(_is_paired(placement, *own) for own in others)
            if paired and placement.scale(begin) <= LARGEST_STEP * placement.scale(end):
                placement.edges.add((begin, first.name, 0))
                placement.share_scale([begin, end])


def _shortcut_to(placement: Placement, end: str) -> onnx.NodeProto | None:
    """Return the first node of the shortcut that ends in a tensor; None if it has no Slice, Pad or the like."""
    graph, first, parts = placement.graph, None, False
    while graph.only_consumer(end) is not None:
        node = graph.producer(end)
        if node is None or not _takes_parts(placement, node):
            break
        first, end, parts = node, node.input[0], parts or not moves_values(node)
    return first if parts else None


def share_scales_across(placement: Placement) -> None:
    """Give one scale to the pairs of a tensor and of all tensors that layers derive from it by only moving its values.

    TensorRT moves those pairs to that tensor, where another scale would round it a second time. The parts of a Split,
    Slice or Gather keep their own ranges, because these may be smaller.
    """
    origins: dict[str, str] = {}
    for node in placement.graph.nodes:
        if moves_values(node) and node.name not in placement.left:
            origins[node.output[0]] = origins.get(node.input[0], node.input[0])
    sharing: dict[str, list[str]] = defaultdict(list)
    for name in sorted({name for name, _, _ in placement.edges}):
        sharing[origins.get(name, name)].append(name)
    for names in sharing.values():
        if len(names) > 1:
            placement.share_scale(names)


def _takes_parts(placement: Placement, node: onnx.NodeProto) -> bool:
    """True if a node only selects values of its first input, or adds zeros to them."""
    if node.name in placement.left:
        return False
    if commutes_with_rounding(node) and not is_nearest_resize(node):
        return len(node.output) == 1
    return node.op_type == "Pad" and _adds_zeros(placement.graph, node)


def _adds_zeros(graph: Graph, node: onnx.NodeProto) -> bool:
    if attribute(node, "mode", "constant") != "constant":
        return False
    added = graph.array(operand(node, 2)) if operand(node, 2) else np.float32(attribute(node, "value", 0.0))
    return added is not None and not np.any(added)


def _all_consumers_paired(placement: Placement, name: str) -> bool:
    users = placement.graph.consumers(name)
    return bool(users) and not placement.graph.must_keep(name) and all(_is_paired(placement, *user) for user in users)


def _is_paired(placement: Placement, node: onnx.NodeProto, position: int) -> bool:
    """True if a node consumes this input through a pair, or only passes it on to nodes that do."""
    if (node.input[position], node.name, position) in placement.edges:
        return True
    moved = position == 0 and moves_values(node) and node.name not in placement.left
    return moved and _all_consumers_paired(placement, node.output[0])
