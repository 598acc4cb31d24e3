"""Names of dynamic dimensions that say nothing.

TensorRT takes dimensions of one name to be of one size. Some exporters call all of them "?".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import onnx

from quantkit.graph.graph import subgraphs
from quantkit.targets.tensorrt.engine.shapes import Profile


def without_false_names(source: Path, profiles: Sequence[Profile]) -> bytes | None:
    """Return an ONNX model without the names that dimensions of different sizes share.

    Args:
        source: The ONNX file.
        profiles: The optimization profiles, which tell the sizes.

    Returns:
        The model, without weights that lie in other files; None if it can stay as it is.
    """
    model = onnx.load(str(source), load_external_data=False)
    false = {name for profile in profiles for name in _false_names(model.graph, profile)}
    if not false:
        return None
    _remove(model.graph, false)
    serialized: bytes = model.SerializeToString()
    return serialized


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
