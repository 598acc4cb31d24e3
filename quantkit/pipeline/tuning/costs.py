"""What it would cost to leave a layer in floating point, in ms: from the times of layers, or from their size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx

from quantkit.core.comparison import LayerTime
from quantkit.graph.graph import Graph, operand
from quantkit.graph.operators import WEIGHTED
from quantkit.pipeline.simulation.units import Unit

TOLD = 0.5  # the share of weighted units that must be found among the layers for their times to be used


def costs_in_ms(
    units: Sequence[Unit],
    int8: Sequence[LayerTime],
    floating: Sequence[LayerTime],
    graph: onnx.GraphProto,
    extra: float,
) -> list[float]:
    """Estimate how much longer each unit takes in floating point.

    Args:
        units: The units.
        int8: The times of the layers of the INT8 model; empty if the target does not tell.
        floating: The same of the floating-point model.
        graph: The floating-point model, for the sizes of layers where times are not told.
        extra: How much longer the whole model takes in floating point, in ms.

    Returns:
        The extra ms of each unit; negative for one that INT8 makes slower.
    """
    own, other = (_of_units(units, layers) for layers in (int8, floating))
    weighted = [number for number, unit in enumerate(units) if unit.kind in WEIGHTED]
    told = [number for number in weighted if number in own and number in other]
    if len(told) >= TOLD * len(weighted):
        return [other.get(n, 0.0) - own.get(n, 0.0) for n in range(len(units))]
    sizes = _sizes(units, graph)
    total = sum(sizes) or 1.0
    return [extra * size / total for size in sizes]


def _of_units(units: Sequence[Unit], layers: Sequence[LayerTime]) -> dict[int, float]:
    """Return the ms of units whose name is that of a layer, or one of those that a layer was fused from."""
    numbers = {unit.name: number for number, unit in enumerate(units)}
    numbers |= {unit.tensor: number for number, unit in enumerate(units) if unit.tensor not in numbers}
    found: dict[int, float] = {}
    for layer in layers:
        parts = [part.strip() for part in layer.name.replace("||", "+").split(" + ")]
        own = [numbers[part] for part in (layer.name, *parts) if part in numbers]
        if own:
            found[own[0]] = found.get(own[0], 0.0) + layer.ms
    return found


def _sizes(units: Sequence[Unit], graph: onnx.GraphProto) -> list[float]:
    """Return the multiplications of each unit, or its values if it multiplies none, as far as shapes are known."""
    inferred = onnx.shape_inference.infer_shapes(onnx.helper.make_model(graph)).graph
    shapes = {
        value.name: [max(dim.dim_value, 1) for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output, *inferred.input)
    }
    view = Graph(graph)
    nodes = {node.name: node for node in view.nodes}
    sizes = []
    for unit in units:
        node = nodes[unit.name]
        outputs = math.prod(shapes.get(node.output[0], [1]))
        weight = view.initializers.get(operand(node, 1))
        products = 1
        if node.op_type == "Conv" and weight is not None:
            products = math.prod(weight.dims[1:])
        elif node.op_type in WEIGHTED:
            products = shapes.get(node.input[0], [1])[-1]
        sizes.append(float(outputs * products))
    return sizes
