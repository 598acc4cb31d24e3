"""Pairs that TensorRT needs because of other pairs: on chains of sums, and around layers that pairs move over.

If one layer consumes a tensor through a pair, and another one without a pair or through a pair with another scale, the
tensor stays in floating point and a separate kernel rounds it: the layer that computes the tensor cannot round it.
"""

from __future__ import annotations

from collections import defaultdict

import onnx

from quantkit.qdq.placement import Placement, moves_values


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


def _all_consumers_paired(placement: Placement, name: str) -> bool:
    users = placement.graph.consumers(name)
    return bool(users) and not placement.graph.must_keep(name) and all(_is_paired(placement, *user) for user in users)


def _is_paired(placement: Placement, node: onnx.NodeProto, position: int) -> bool:
    """True if a node consumes this input through a pair, or only passes it on to nodes that do."""
    if (node.input[position], node.name, position) in placement.edges:
        return True
    moved = position == 0 and moves_values(node) and node.name not in placement.left
    return moved and _all_consumers_paired(placement, node.output[0])
