"""Pairs for TensorRT that others call for: sums in a chain, and layers between two pairs that Q/DQ commute with.

A tensor that one layer takes through a pair and another one does not, or through a pair of another scale, is put out in
floating point and rounded by a kernel of its own: the layer that computes it cannot do so along the way.
"""

from __future__ import annotations

from collections import defaultdict

import onnx

from quantkit.qdq.placement import RESHAPING, Placement, is_nearest_resize


def pair_sums_in_chains(placement: Placement) -> None:
    """Pair a sum of which no part comes straight from a Conv, if all that takes it takes pairs, the next sum included.

    From the last one on: in a row of residual blocks each sum is taken by the next block's Conv and by its sum.
    """
    paired = {name for _, name, _ in placement.edges}
    for node in reversed(placement.graph.node):
        if node.op_type != "Add" or node.name in placement.excluded or node.name in paired:
            continue
        if all(name in placement.ranges for name in node.input) and _all_take_pairs(placement, node.output[0]):
            placement.edges |= {(name, node.name, position) for position, name in enumerate(node.input)}


def share_scales_across(placement: Placement) -> None:
    """Give the pairs of a tensor, and of all that layers which Q/DQ commute with make of it, one scale.

    TensorRT moves those pairs to that tensor, where another scale would be a second rounding of it.
    """
    origins: dict[str, str] = {}
    for node in placement.graph.node:
        if commutes(node) and node.name not in placement.excluded:
            origins[node.output[0]] = origins.get(node.input[0], node.input[0])
    sharing: dict[str, list[str]] = defaultdict(list)
    for name in sorted({name for name, _, _ in placement.edges}):
        sharing[origins.get(name, name)].append(name)
    for names in sharing.values():
        if len(names) > 1:
            placement.share_scale(names)


def commutes(node: onnx.NodeProto) -> bool:
    """True if a layer only moves values, or picks some, so that Q/DQ behind it may as well stand before it.

    The linter knows more of them; those that part a tensor, such as Split, are left out here, for each part may have a
    range of its own.
    """
    return node.op_type in RESHAPING or is_nearest_resize(node)


def _all_take_pairs(placement: Placement, name: str) -> bool:
    users = placement.consumers[name]
    return bool(users) and name not in placement.graph_outputs and all(_takes_pair(placement, *user) for user in users)


def _takes_pair(placement: Placement, node: onnx.NodeProto, position: int) -> bool:
    """True if a node takes this input through a pair, or passes it on to such."""
    if (node.input[position], node.name, position) in placement.edges:
        return True
    moved = position == 0 and commutes(node) and node.name not in placement.excluded
    return moved and _all_take_pairs(placement, node.output[0])
