"""Names of dynamic dimensions that say nothing.

TensorRT takes dimensions of one name to be of one size. Some exporters call all of them "?".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import onnx

from quantkit.graph.graph import subgraphs
from quantkit.targets.tensorrt.engine.shapes import Profile


def drop_false_names(graph: onnx.GraphProto, profiles: Sequence[Profile]) -> bool:
    """Take away the names that dimensions of different sizes share, in place.

    Args:
        graph: The graph of the model.
        profiles: The optimization profiles, which tell the sizes.

    Returns:
        True if there were such names.
    """
    false = {name for profile in profiles for name in _false_names(graph, profile)}
    _remove(graph, false)
    return bool(false)


def _false_names(graph: onnx.GraphProto, profile: Profile) -> Iterator[str]:
    sizes: dict[str, tuple[int, ...]] = {}
    for value in graph.input:
        shapes = profile.get(value.name)
        if shapes is None:
            continue
        named = zip(value.type.tensor_type.shape.dim, shapes.least, shapes.best, shapes.largest, strict=False)
        for dimension, *own in named:
            if dimension.dim_param and sizes.setdefault(dimension.dim_param, tuple(own)) != tuple(own):
                yield dimension.dim_param


def _remove(graph: onnx.GraphProto, names: Collection[str]) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in names:
                dimension.ClearField("dim_param")
    for node in graph.node:
        for inner in subgraphs(node):
            _remove(inner, names)
