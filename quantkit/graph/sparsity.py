"""2:4 sparsity: of every four consecutive input channels of a weight, at least two are zero.

TensorRT's sparse kernels want that of each output channel and each place in the kernel, with a number of input channels
that four divides:
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/advanced.html#sparsity
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from quantkit.graph.graph import Graph, graphs_of, label, operand, values_of
from quantkit.graph.model_file import external_file_of
from quantkit.graph.operators import DEQUANTIZE, QUANTIZE, WEIGHTED, is_default_domain, weight_output_axis

GROUP, ZEROS = 4, 2
SAME_ZEROS = (QUANTIZE, DEQUANTIZE, "Cast", "Identity")  # with zero-points of 0, as sparse kernels want them
NEARLY = 0.9  # share of the groups; a layer with more than that was pruned, and something broke the pattern


@dataclass(frozen=True)
class LayerSparsity:
    """How sparse one layer's weight is.

    Attributes:
        name: The layer.
        values: The number of its values.
        share: The share of its groups that have two zeros or more; 1 is what sparse kernels want.
    """

    name: str
    values: int
    share: float

    @property
    def is_sparse(self) -> bool:
        """True if every group has its zeros."""
        return self.share == 1.0

    @property
    def is_broken(self) -> bool:
        """True if nearly every group has its zeros, but not all, so that no sparse kernel takes the layer."""
        return NEARLY < self.share < 1.0


@dataclass(frozen=True)
class Sparsity:
    """How sparse a model's weights are.

    Attributes:
        layers: The layers whose number of input channels four divides; no other can be sparse.
        values: The number of values in the weights of all layers.
    """

    layers: tuple[LayerSparsity, ...]
    values: int

    @property
    def sparse(self) -> tuple[LayerSparsity, ...]:
        """The layers that are 2:4 sparse."""
        return tuple(layer for layer in self.layers if layer.is_sparse)

    @property
    def broken(self) -> tuple[LayerSparsity, ...]:
        """The layers that nearly are."""
        return tuple(layer for layer in self.layers if layer.is_broken)

    @property
    def share(self) -> float:
        """The share of all weights' values that lie in sparse layers."""
        return sum(layer.values for layer in self.sparse) / self.values if self.values else 0.0

    def describe(self) -> str:
        """Return one sentence."""
        count, of = len(self.sparse), len(self.layers)
        if not count:
            text = f"No weight is 2:4 sparse, of {of} that could be"
        else:
            text = f"2:4 sparse are {count} of the {of} weights that could be, {self.share:.0%} of all weights' values"
        return text + (f"; {len(self.broken)} nearly are." if self.broken else ".")

    def to_dict(self) -> dict[str, Any]:
        """Return the record as values for JSON."""
        return {
            "layers": [layer.name for layer in self.sparse],
            "nearly": [layer.name for layer in self.broken],
            "possible": len(self.layers),
            "share": self.share,
        }


def sparsity_of(proto: onnx.ModelProto, folder: Path | None = None) -> Sparsity:
    """Look at the weights of a model, quantized or not, one after the other.

    Args:
        proto: The model, perhaps without external data.
        folder: Where external data is read from; None leaves out weights that are not in ``proto``.
    """
    layers, values = [], 0
    for name, weight, axis in _weights(proto, folder):
        values += weight.size
        good, total = sparse_groups(weight, axis)
        if total:
            layers.append(LayerSparsity(name, weight.size, good / total))
    return Sparsity(tuple(layers), values)


def sparse_groups(weight: npt.NDArray[Any], output_axis: int) -> tuple[int, int]:
    """Count the groups of four input channels that have two zeros or more.

    Args:
        weight: The weight of a Conv, ConvTranspose, Gemm or MatMul.
        output_axis: The axis of its output channels; the input channels lie along the other axis beside it.

    Returns:
        The number of such groups, and of all; none of a weight whose number of input channels four does not divide.
    """
    if weight.ndim < len(("input", "output")):
        return 0, 0
    channels = np.moveaxis(weight, 1 if output_axis == 0 else output_axis - 1, -1)
    if not channels.size or channels.shape[-1] % GROUP:
        return 0, 0
    zeros = (channels.reshape(-1, GROUP) == 0).sum(axis=1)
    return int((zeros >= ZEROS).sum()), len(zeros)


def is_sparse(weight: npt.NDArray[Any], output_axis: int) -> bool:
    """True if a weight is 2:4 sparse; see :func:`sparse_groups`."""
    good, total = sparse_groups(weight, output_axis)
    return 0 < total == good


def _weights(proto: onnx.ModelProto, folder: Path | None) -> Iterator[tuple[str, npt.NDArray[Any], int]]:
    """Yield each layer with a constant weight: its name, the weight, and the axis of its output channels."""
    for graph in graphs_of(proto.graph):
        view = Graph(graph)
        for node in view.nodes:
            if node.op_type not in WEIGHTED or not is_default_domain(node):
                continue
            weight = _values(view, operand(node, 1), folder)
            if weight is not None and weight.ndim > 1:
                yield label(node), weight, weight_output_axis(node, weight.ndim)


def _values(view: Graph, name: str, folder: Path | None) -> npt.NDArray[Any] | None:
    """Return the values of a weight, or its integers in front of a DequantizeLinear; None if they are not here."""
    seen = set()
    while name not in view.constants:
        producer = view.producer(name)
        if producer is None or producer.op_type not in SAME_ZEROS or name in seen:
            return None
        seen.add(name)
        name = operand(producer, 0)
    tensor = view.constants[name]
    if not uses_external_data(tensor):
        return values_of(tensor, name)
    if folder is None:
        return None
    external_file_of(tensor, folder)  # refuses files outside the folder
    copy = onnx.TensorProto()
    copy.CopyFrom(tensor)
    load_external_data_for_tensor(copy, str(folder))
    values: npt.NDArray[Any] = numpy_helper.to_array(copy)
    return values
