"""Clips before TensorRT's pairs whose upper bound the pairs make superfluous.

TensorRT 8.6 computes a wrong result for a floating-point Conv, a Clip and a QuantizeLinear in a row: on an H200,
MobileNetV2 with its first Conv left out of INT8 agreed with FP32 on 10 % of the images, and on 99 % with a ReLU in
place of the Clip.
"""

from __future__ import annotations

import numpy as np
import onnx

from quantkit.core.ranges import LEVELS
from quantkit.graph.graph import Graph, drop_unused_constants, operand
from quantkit.graph.operators import QUANTIZE, clip_bounds, commutes_with_rounding


def relus_for_clips(graph: onnx.GraphProto) -> None:
    """Turn each Clip from 0 into a ReLU if all its consumers quantize it to s8 ranges that end no higher.

    Layers between them that commute with rounding, such as a MaxPool, make no difference, because TensorRT moves pairs
    over them. The outputs of the graph stay equal to the bit.
    """
    view = Graph(graph)
    for node in view.of_type("Clip"):
        bounds = clip_bounds(node, view.constants)
        if bounds is None or bounds[0] != 0:
            continue
        moved, last = [node.output[0]], []  # the tensors that hold its values; the nodes that compute with them
        for name in moved:
            for user, position in view.consumers(name):
                if commutes_with_rounding(user) and position == 0:
                    moved += filter(None, user.output)
                else:
                    last.append(user)
        in_sight = not any(view.must_keep(name) for name in moved)
        if last and in_sight and all(_saturates(view, user, bounds[1]) for user in last):
            node.op_type = "Relu"
            del node.input[1:], node.attribute[:]
    drop_unused_constants(graph)


def _saturates(graph: Graph, node: onnx.NodeProto, highest: float) -> bool:
    """True if a node is a QuantizeLinear to s8 with zero-point 0 that rounds this value to the largest integer."""
    if node.op_type != QUANTIZE:
        return False
    scales, zero_points = graph.array(operand(node, 1)), graph.array(operand(node, 2))
    if scales is None or zero_points is None or zero_points.dtype != np.int8 or zero_points.any():
        return False
    rounded = np.rint(np.float32(highest) / scales.astype(np.float32))
    return bool((rounded >= LEVELS).all())
