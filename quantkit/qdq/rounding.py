"""Rounds weights: to the nearest integer, or by least squares on what the layer really multiplies.

The nearest integer is best if inputs are independent. They are not, and then rounding one weight up can make good for
another that was rounded down. GPTQ (Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers", 2022, https://arxiv.org/abs/2210.17323) rounds one input's weights after the other, the
input of the largest variance first, and after each moves the weights that are left to where they make up for its error
best. What is minimized is the variance of the output's error, because biases are corrected for its mean.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx

from quantkit.core.ranges import LEVELS
from quantkit.core.statistics.moments import Moments
from quantkit.graph.channel_axes import channel_axes
from quantkit.graph.graph import Graph
from quantkit.graph.layer_rows import LayerRows, layer_rows
from quantkit.graph.sparsity import is_sparse
from quantkit.qdq.placement import SMALLEST_SCALE

DAMPINGS = (1e-3, 1e-2, 0.1, 1.0, 10.0)  # of the mean variance, added to each until there is a factor; the first
# stands for the noise of rounded inputs
BLOCK = 64  # inputs that are rounded before their errors reach all others, which is faster

Floats = npt.NDArray[np.float64]


def nearest(weight: Floats, levels: int) -> Floats:
    """Round a weight in units of its scale to the nearest integer of at most ``levels``."""
    return np.clip(np.rint(weight), -levels, levels)


def weight_scale(
    weight: npt.NDArray[np.float32], axis: int, levels: int = LEVELS, least: npt.NDArray[np.float64] | float = 0.0
) -> npt.NDArray[np.float32]:
    """Return the scale of each output channel of a weight, max|w| / levels.

    A channel that is all zero gets the largest scale of all, because TensorRT refuses a scale of 0.

    Args:
        weight: The weight.
        axis: The axis of its output channels.
        levels: The largest magnitude of an integer.
        least: The smallest scale, of each channel or of all.

    Returns:
        The scales, (C,).
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    exact = np.abs(weight).max(axis=others, initial=0.0) / levels
    exact = np.where(exact > SMALLEST_SCALE, exact, max(exact.max(initial=0.0), SMALLEST_SCALE))
    scale: npt.NDArray[np.float32] = np.maximum(exact, least).astype(np.float32)
    return scale


class Rounder:
    """Rounds the weights of a graph's layers.

    Args:
        graph: The graph, with weights as they will be quantized.
        moments: The second moments by key of :class:`LayerRows`; a layer without any is rounded to nearest.
        factors: The factors by which an equalization multiplied the channels of tensors since the moments were taken.
        levels: The largest magnitude of an integer.
    """

    def __init__(
        self,
        graph: onnx.GraphProto,
        moments: Mapping[str, Moments] | None = None,
        factors: Mapping[str, Floats] | None = None,
        levels: int = LEVELS,
    ) -> None:
        view = Graph(graph)
        self.levels = levels
        self._factors = factors or {}
        self._moments = moments or {}
        self._axes = channel_axes(view) if self._factors else {}
        uses: dict[str, int] = {}
        for node in view.nodes:
            for name in node.input:
                uses[name] = uses.get(name, 0) + 1
        self._rows: dict[str, LayerRows] = {}
        for node in view.nodes:
            rows = layer_rows(view, node) if self._moments else None
            if rows is not None and rows.key in self._moments and uses[node.input[1]] == 1:
                self._rows[node.name] = rows
        self._known: dict[tuple[str, bytes], npt.NDArray[np.int8]] = {}

    def __call__(
        self, node: str, weight: npt.NDArray[np.float32], scale: npt.NDArray[np.float32], axis: int
    ) -> npt.NDArray[np.int8]:
        """Round a weight.

        Args:
            node: The name of the layer.
            weight: The weight.
            scale: The scale of each output channel, (C,).
            axis: The axis of the output channels.

        Returns:
            The integers, in the weight's shape.
        """
        shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
        exact = weight.astype(np.float64) / scale.reshape(shape)
        rows = self._rows.get(node)
        if rows is None:
            return nearest(exact, self.levels).astype(np.int8)
        key = (node, hashlib.sha256(weight.tobytes() + scale.tobytes()).digest())
        if key not in self._known:
            self._known[key] = self._least_squares(rows, exact, axis, is_sparse(weight, axis))
        return self._known[key]

    def values(self, node: str, weight: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
        """Return what the integers of a weight and their scales represent, in the weight's shape."""
        scale = weight_scale(weight, axis, self.levels)
        return self(node, weight, scale, axis) * scale.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])

    def _least_squares(self, rows: LayerRows, exact: Floats, axis: int, keep_zeros: bool) -> npt.NDArray[np.int8]:
        moments = self._moments[rows.key]
        covariance = self._scaled(rows, moments)
        matrix = np.moveaxis(exact, axis, 0)
        flat = matrix.reshape(len(matrix), -1)
        parts, each = moments.sums.shape
        if rows.groups > 1:
            own = flat.reshape(parts, -1, each)
        else:
            padded = np.zeros((len(flat), parts * each))
            padded[:, : flat.shape[1]] = flat
            own = padded.reshape(len(flat), parts, each).transpose(1, 0, 2)
        rounded = least_squares(own, covariance, self.levels, keep_zeros)
        if rows.groups > 1:
            found = rounded.reshape(flat.shape)
        else:
            found = rounded.transpose(1, 0, 2).reshape(len(flat), -1)[:, : flat.shape[1]]
        return np.moveaxis(found.reshape(matrix.shape), 0, axis).astype(np.int8)

    def _scaled(self, rows: LayerRows, moments: Moments) -> Floats:
        """Return the covariance of the rows as the graph has them, whose channels may be equalized."""
        covariance = moments.covariance
        factors = self._factors.get(rows.tensor)
        channels = rows.width * rows.groups // math.prod(rows.kernel)
        along = self._axes.get(rows.tensor, 1 if rows.kernel else -1)
        if factors is None or len(factors) != channels or (along == 1) != bool(rows.kernel):
            return covariance
        parts, each = moments.sums.shape
        wide = np.ones(parts * each)
        wide[: channels * math.prod(rows.kernel)] = np.repeat(factors, math.prod(rows.kernel))
        own = wide.reshape(parts, each)
        return covariance * own[:, :, None] * own[:, None, :]


def least_squares(weight: Floats, covariance: Floats, levels: int, keep_zeros: bool = False) -> Floats:
    """Round weights so that the variance of the output's error is small.

    With the covariance factored as (1 + U) D (1 + U)ᵀ, U strictly upper triangular, the weight of input k is rounded
    after the errors of those before it were added to it, each times its element of U's column k. This is GPTQ without
    an inverse: Chee et al., "QuIP: 2-Bit Quantization of Large Language Models With Guarantees" (2023),
    https://arxiv.org/abs/2307.13304, theorem 6.

    Args:
        weight: In units of its scale, (B, O, d): B problems of their own, O outputs each.
        covariance: Of the d inputs, (B, d, d).
        levels: The largest magnitude of an integer.
        keep_zeros: True to leave zeros as they are, because sparse kernels count on them.

    Returns:
        Whole numbers, (B, O, d).
    """
    size = weight.shape[-1]
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    order = np.argsort(-variance, axis=1, kind="stable")
    exact = np.take_along_axis(weight.transpose(0, 2, 1), order[:, :, None], axis=1)
    ordered = np.take_along_axis(np.take_along_axis(covariance, order[:, :, None], 1), order[:, None, :], 2)
    feedback = _feedback(ordered)
    rounded, errors = np.empty_like(exact), np.empty_like(exact)
    for start in range(0, size, BLOCK):
        end = min(start + BLOCK, size)
        moved = exact[:, start:end]
        if start:
            moved = moved + np.matmul(feedback[:, start:end, :start], errors[:, :start])
        for own in range(start, end):
            value = moved[:, own - start]
            if own > start:
                value = value + np.matmul(feedback[:, own : own + 1, start:own], errors[:, start:own])[:, 0]
            rounded[:, own] = nearest(value, levels)
            if keep_zeros:
                rounded[:, own][exact[:, own] == 0] = 0
            errors[:, own] = exact[:, own] - rounded[:, own]
    back = np.argsort(order, axis=1, kind="stable")
    return np.take_along_axis(rounded, back[:, :, None], axis=1).transpose(0, 2, 1)


def _feedback(covariance: Floats) -> Floats:
    """Return the transpose of 1 + U of damped covariances, (B, d, d); see :func:`least_squares`."""
    size = covariance.shape[-1]
    mean = np.maximum(np.trace(covariance, axis1=1, axis2=2) / size, np.finfo(np.float64).tiny)
    with np.errstate(over="ignore", invalid="ignore"):  # numbers of a damaged file, which no damping helps
        backward = covariance[:, ::-1, ::-1] / mean[:, None, None]
    unit: Floats
    for damping in DAMPINGS:
        try:
            lower = np.linalg.cholesky(backward + damping * np.eye(size))
        except np.linalg.LinAlgError:
            continue
        upper = lower[:, ::-1, ::-1].transpose(0, 2, 1)
        unit = np.ascontiguousarray(upper / np.diagonal(upper, axis1=1, axis2=2)[:, :, None])
        if np.isfinite(unit).all():
            return unit
    unit = np.zeros_like(covariance) + np.eye(size)  # what no damping helps is rounded to nearest
    return unit
