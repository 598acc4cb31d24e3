"""The rows that a layer multiplies with its weight: the values under a kernel at one place, or those of one token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from quantkit.graph.graph import Graph, attribute, operand
from quantkit.graph.operators import is_default_domain, is_plain_product

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Places:
    """Where the values of rows lie in a flat input: value d of row r is at base[r] + d // K · step + under[r, d % K].

    Attributes:
        base: int64 (R,).
        under: int32 (R, K), negative where the value is a zero of the padding.
        step: The distance of channels.
    """

    base: npt.NDArray[np.int64]
    under: npt.NDArray[np.int32]
    step: int


@dataclass(frozen=True)
class LayerRows:
    """What a layer's rows are made of.

    Attributes:
        tensor: The layer's input.
        kernel: The sizes of a Conv's kernel; empty for a matrix product, whose rows lie along the last axis.
        strides: The Conv's strides.
        pads: The zeros before and after each axis.
        dilations: The Conv's dilations.
        groups: The Conv's groups.
        width: The number D of values in a row.
    """

    tensor: str
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    groups: int = 1
    width: int = 0

    @property
    def key(self) -> str:
        """A name that layers share whose rows have the same values, though perhaps of other places."""
        if not self.kernel:
            return self.tensor
        sizes = "x".join(map(str, self.kernel))
        wide = "" if set(self.dilations) == {1} else f" dilated {'x'.join(map(str, self.dilations))}"
        groups = "" if self.groups == 1 else f" in {self.groups} groups"
        return f"{self.tensor} under {sizes}{wide}{groups}"

    def taken(self, values: npt.NDArray[np.float32], count: int, turn: int) -> npt.NDArray[np.float32] | None:
        """Take rows at places that are spread evenly.

        Args:
            values: The input of one run: (N, C, *spatial) for a Conv, (..., D) for a matrix product.
            count: The number of rows; fewer if there are fewer places.
            turn: The number of the sample. Each one gives other places, and always the same.

        Returns:
            The rows, (count, D); for a Conv, D is C · kernel, channels first. None if the input has another shape.
        """
        if not self.kernel:
            if values.ndim < 1 or values.shape[-1] != self.width:
                return None
            tokens = values.reshape(-1, self.width)
            return tokens[_spread(len(tokens), count, turn)]
        places = math.prod(self.kernel)
        if values.ndim != len(self.kernel) + 2 or values.shape[1] * places != self.width * self.groups:
            return None
        samples, channels = values.shape[:2]
        outputs = self._outputs(values.shape[2:])
        chosen = _spread(samples * math.prod(outputs), count, turn)
        sample, place = np.divmod(chosen, max(math.prod(outputs), 1))
        indices, inside = self._under_kernel(values.shape[2:], outputs, place)
        flat = values.reshape(samples, channels, -1)
        taken: npt.NDArray[np.float32]
        if samples == 1:  # one look-up for all channels
            taken = np.take(flat[0], indices, axis=1).transpose(1, 0, 2)
        else:
            taken = flat[sample[:, None, None], np.arange(channels)[None, :, None], indices[:, None, :]]
        if not inside.all():
            taken = np.where(inside[:, None, :], taken, np.float32(0))
        return taken.reshape(len(chosen), self.width * self.groups)

    def places(self, shape: Sequence[int], count: int, turn: int) -> Places | None:
        """Return where the rows lie that :meth:`taken` takes of an input of this shape; None if it takes none."""
        if not self.kernel:
            if not shape or shape[-1] != self.width:
                return None
            tokens = _spread(math.prod(shape[:-1]), count, turn)
            return Places(tokens.astype(np.int64) * self.width, np.zeros((len(tokens), 1), np.int32), 1)
        if len(shape) != len(self.kernel) + 2 or shape[1] * math.prod(self.kernel) != self.width * self.groups:
            return None
        outputs = self._outputs(shape[2:])
        sample, place = np.divmod(_spread(shape[0] * math.prod(outputs), count, turn), max(math.prod(outputs), 1))
        indices, inside = self._under_kernel(shape[2:], outputs, place)
        size = math.prod(shape[2:])
        under = np.where(inside, indices, -1).astype(np.int32)
        return Places(sample.astype(np.int64) * shape[1] * size, under, size)

    def _outputs(self, size: Sequence[int]) -> list[int]:
        """Return the number of places of the kernel along each axis."""
        axes = len(self.kernel)
        reach = [(k - 1) * d for k, d in zip(self.kernel, self.dilations, strict=True)]
        room = [size[i] + self.pads[i] + self.pads[axes + i] - reach[i] for i in range(axes)]
        return [max(0, -(-r // s)) for r, s in zip(room, self.strides, strict=True)]

    def _under_kernel(
        self, size: Sequence[int], outputs: Sequence[int], place: Indices
    ) -> tuple[Indices, npt.NDArray[np.bool_]]:
        """Return the flat index of each value under the kernel, (places, K), and whether it is none of the padding."""
        if not len(place):
            return np.zeros((0, math.prod(self.kernel)), np.intp), np.ones((0, math.prod(self.kernel)), np.bool_)
        flat = np.zeros((len(place), 1), np.intp)
        inside = np.ones((len(place), 1), np.bool_)
        for axis, coordinate in enumerate(np.unravel_index(place, outputs)):
            starts = coordinate * self.strides[axis] - self.pads[axis]
            own = starts[:, None] + np.arange(self.kernel[axis]) * self.dilations[axis]
            within = (own >= 0) & (own < size[axis])
            flat = (flat[:, :, None] * size[axis] + np.where(within, own, 0)[:, None, :]).reshape(len(place), -1)
            inside = (inside[:, :, None] & within[:, None, :]).reshape(len(place), -1)
        return flat, inside


def layer_rows(graph: Graph, node: onnx.NodeProto) -> LayerRows | None:
    """Return the rows of a layer whose weight is a constant; None for any other node."""
    weight = graph.constants.get(operand(node, 1))
    if weight is None or not is_default_domain(node) or not operand(node, 0):
        return None
    shape = tuple(weight.dims)
    if node.op_type == "Conv" and len(shape) > 2:
        return _conv_rows(node, shape)
    if node.op_type == "Gemm" and is_plain_product(node) and len(shape) == 2:
        return LayerRows(node.input[0], width=shape[1] if attribute(node, "transB", 0) else shape[0])
    if node.op_type == "MatMul" and len(shape) == 2:
        return LayerRows(node.input[0], width=shape[0])
    return None


def _conv_rows(node: onnx.NodeProto, shape: tuple[int, ...]) -> LayerRows | None:
    kernel, axes = shape[2:], len(shape) - 2
    strides: Sequence[int] = attribute(node, "strides", [1] * axes)
    dilations: Sequence[int] = attribute(node, "dilations", [1] * axes)
    pads: Sequence[int] = attribute(node, "pads", [0] * 2 * axes)
    automatic = attribute(node, "auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        # The zeros of a stride depend on the input's size; those of stride 1 are as representative.
        reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
        pads = [r // 2 for r in reach] + [r - r // 2 for r in reach]
    elif automatic == "VALID":
        pads = [0] * 2 * axes
    if min(pads, default=0) < 0 or 0 in shape:
        return None
    groups = attribute(node, "group", 1)
    return LayerRows(node.input[0], kernel, tuple(strides), tuple(pads), tuple(dilations), groups, math.prod(shape[1:]))


def _spread(places: int, count: int, turn: int) -> Indices:
    """Return so many of the numbers below ``places``, evenly spread, beginning elsewhere at each turn."""
    taken = min(places, count)
    first = (turn * 0.6180339887498949) % 1.0  # the golden ratio: turns never meet
    chosen = ((np.arange(taken) + first) * (places / max(taken, 1))).astype(np.intp)
    return np.minimum(chosen, max(places - 1, 0))
