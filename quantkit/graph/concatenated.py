"""Tells which tensors a Concat joined to an output, and where each lies in it: boxes and scores of a detector, say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from quantkit.graph.graph import Graph, attribute, operand

RESHAPING = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})  # the order of values stays
MOST_PARTS = 16


@dataclass(frozen=True)
class Joined:
    """A tensor that only moves values of other tensors.

    Attributes:
        tensor: The name.
        node: The node that computes it; None for a part, which is not looked behind.
        sources: What its values come from.
    """

    tensor: str
    node: onnx.NodeProto | None = None
    sources: tuple[Joined, ...] = ()

    def parts(self) -> Iterator[str]:
        """Yield the names of the tensors whose values it holds."""
        if self.node is None:
            yield self.tensor
        for source in self.sources:
            yield from source.parts()

    def tensors(self) -> Iterator[str]:
        """Yield the names of all tensors whose shapes :func:`labels` needs."""
        yield self.tensor
        for source in self.sources:
            yield from source.tensors()


def joined(graph: Graph, output: str) -> Joined | None:
    """Return what a Concat joined to an output; None if there is no such Concat, or if it joins too many tensors."""
    found = _behind(graph, output)
    count = len(set(found.parts()))
    if count > MOST_PARTS:
        found = _behind(graph, output, nested=False)
        count = len(set(found.parts()))
    return found if 1 < count <= MOST_PARTS else None


def _behind(graph: Graph, tensor: str, nested: bool = True, below: bool = False) -> Joined:
    node = graph.producer(tensor)
    if node is None:
        return Joined(tensor)
    if node.op_type in RESHAPING or node.op_type == "Transpose":
        source = _behind(graph, operand(node, 0), nested, below)
        return Joined(tensor, node, (source,)) if source.node is not None else Joined(tensor)
    if node.op_type == "Concat" and (nested or not below):
        return Joined(tensor, node, tuple(_behind(graph, name, nested, True) for name in node.input))
    return Joined(tensor)


def labels(found: Joined, shapes: Mapping[str, tuple[int, ...]]) -> tuple[list[str], npt.NDArray[np.int16]]:
    """Return the part that each value of an output belongs to.

    Args:
        found: What was joined.
        shapes: The shapes of all its tensors.

    Returns:
        The names of the parts, and for each value of the output the number of its part.

    Raises:
        KeyError: A shape is missing.
        ValueError: The shapes contradict each other.
    """
    names = list(dict.fromkeys(found.parts()))
    return names, _labels(found, shapes, {name: number for number, name in enumerate(names)})


def _labels(found: Joined, shapes: Mapping[str, tuple[int, ...]], numbers: Mapping[str, int]) -> npt.NDArray[np.int16]:
    if found.node is None:
        return np.full(shapes[found.tensor], numbers[found.tensor], np.int16)
    sources = [_labels(source, shapes, numbers) for source in found.sources]
    if found.node.op_type == "Concat":
        return np.concatenate(sources, attribute(found.node, "axis", 0))
    if found.node.op_type == "Transpose":
        return np.transpose(sources[0], attribute(found.node, "perm", []) or None)
    return sources[0].reshape(shapes[found.tensor])
