"""Q/DQ for TensorRT: symmetric s8, placed so that the builder keeps its fusions.

The rules, after NVIDIA's "Working with Quantized Types" (Q/DQ layer-placement recommendations),
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html:

1. A pair on every input of Conv, ConvTranspose, Gemm and MatMul, none on their outputs; activations per-tensor, weights
   per-channel; zero-point 0, every scale above 0.
2. A residual Add gets a pair on the skip input only: one on the branch that comes straight from a Conv would break the
   fusion of Conv and Add.
3. No pair on a bias: TensorRT does not parse INT32 DequantizeLinear.
4. MaxPool commutes with Q/DQ and needs none; an average pool does not, and gets one on its input and its output, if
   the layers around it are quantized.
5. Any other layer runs in INT8 only between pairs on all its inputs and its output, and is left in floating point.
6. All inputs and the output of a Concat share one scale, so that nothing is requantized.
7. A Gemm or MatMul whose weight has fewer than 16 rows or columns is left in floating point.
8. A MatMul of two activations, as in attention, is left in floating point, where the builder fuses it with Softmax.
9. A Conv of one pixel (squeeze and excitation) is left in floating point: a pair costs more there than INT8 saves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from quantkit.core.ranges import TensorRange
from quantkit.model.bias_correction import mean_error
from quantkit.model.file import ModelFile
from quantkit.model.prepare import prepared
from quantkit.model.qdq_onnxruntime import ensure_names, excluded_nodes
from quantkit.model.qdq_placement import SMALLEST_SCALE, WEIGHTED, Placement
from quantkit.model.quantizable import with_fused


def quantized_for_tensorrt(
    model: ModelFile,
    ranges: Mapping[str, TensorRange],
    exclude: Sequence[str] = (),
    means: Mapping[str, npt.NDArray[np.float64]] | None = None,
) -> onnx.ModelProto:
    """The model with Q/DQ pairs; nodes whose name or output matches ``exclude`` stay in floating point.

    ``means`` holds the mean of every channel by tensor, float64 of shape (C,): the biases of the layers that take these
    tensors are corrected by them. None leaves the biases as they are.
    """
    proto = prepared(model)
    ensure_names(proto.graph)
    ranges = with_fused(proto.graph, ranges)
    # What a weighted layer puts out gets no pair (rule 1), so that it needs no range: a Q/DQ model's scales lack it.
    unpaired = {name for node in proto.graph.node if node.op_type in WEIGHTED for name in node.output}
    placement = Placement(proto.graph, ranges, set(excluded_nodes(proto.graph, exclude, unpaired | set(ranges))))
    placement.place()
    _correct_biases(placement, means or {})
    _insert(placement)
    proto.producer_name = "quantkit"
    return proto


def _correct_biases(placement: Placement, means: Mapping[str, npt.NDArray[np.float64]]) -> None:
    """Correct the bias of every Conv and transposed Gemm that takes a quantized weight and has a bias of its own."""
    uses = Counter(name for node in placement.graph.node for name in node.input)
    for node in placement.graph.node:
        mean = means.get(node.input[0]) if node.input else None
        if node.name not in placement.with_weight or mean is None or len(node.input) < 3:
            continue
        attributes = {a.name: a for a in node.attribute}
        plain = node.op_type == "Conv" or (
            node.op_type == "Gemm"
            and attributes["transB"].i == 1
            and all(attributes[name].f == 1 for name in ("alpha", "beta") if name in attributes)
            if "transB" in attributes
            else False
        )
        bias = placement.initializers.get(node.input[2])
        weight = numpy_helper.to_array(placement.initializers[node.input[1]])
        groups = attributes["group"].i if "group" in attributes else 1
        if not plain or bias is None or uses[bias.name] != 1 or len(mean) != weight.shape[1] * groups:
            continue
        values, scale = _rounded(weight, 0)
        rounded = values * scale.reshape(-1, *[1] * (weight.ndim - 1))
        own = numpy_helper.to_array(bias)
        if own.shape == weight.shape[:1]:
            better = (own - mean_error(weight, rounded, mean, groups)).astype(np.float32)
            bias.CopyFrom(numpy_helper.from_array(better, bias.name))


def _rounded(weight: npt.NDArray[np.float32], axis: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """A weight in s8 and its scales, one for each channel along ``axis``."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.maximum(np.abs(weight).max(axis=others) / 127, SMALLEST_SCALE).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    return np.clip(np.rint(weight / scale.reshape(shape)), -127, 127).astype(np.int8), scale


def _insert(placement: Placement) -> None:
    """Insert the pairs; nodes stay in topological order."""
    pairs: dict[str, list[onnx.NodeProto]] = {}
    for name in sorted({tensor for tensor, _, _ in placement.edges}):
        pairs[name] = _activation_pair(placement, name)
    dequantized = [_quantized_weight(placement, name, axis) for name, axis in placement.weights.items()]
    positions = {(node, position): tensor for tensor, node, position in placement.edges}
    ordered = dequantized + [n for v in placement.graph.input for n in pairs.get(v.name, [])]
    for node in placement.graph.node:
        for position, name in enumerate(node.input):
            if (node.name, position) in positions or (position == 1 and node.name in placement.with_weight):
                node.input[position] = f"{name}_dequantized"
        ordered.append(node)
        ordered += [pair for name in node.output for pair in pairs.get(name, [])]
    del placement.graph.node[:]
    placement.graph.node.extend(ordered)
    used = {name for node in placement.graph.node for name in node.input} | placement.graph_outputs
    kept = [tensor for tensor in placement.graph.initializer if tensor.name in used]
    del placement.graph.initializer[:]
    placement.graph.initializer.extend(kept)


def _activation_pair(placement: Placement, name: str) -> list[onnx.NodeProto]:
    placement.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(placement.scale(name), np.float32), f"{name}_scale"),
            numpy_helper.from_array(np.array(0, np.int8), f"{name}_zero_point"),
        ]
    )
    constants = [f"{name}_scale", f"{name}_zero_point"]
    quantize = helper.make_node(
        "QuantizeLinear", [name, *constants], [f"{name}_quantized"], name=f"{name}_QuantizeLinear"
    )
    dequantize = helper.make_node(
        "DequantizeLinear",
        [f"{name}_quantized", *constants],
        [f"{name}_dequantized"],
        name=f"{name}_DequantizeLinear",
    )
    return [quantize, dequantize]


def _quantized_weight(placement: Placement, name: str, axis: int) -> onnx.NodeProto:
    values, scale = _rounded(numpy_helper.to_array(placement.initializers[name]), axis)
    placement.graph.initializer.extend(
        [
            numpy_helper.from_array(values, f"{name}_quantized"),
            numpy_helper.from_array(scale, f"{name}_scale"),
            numpy_helper.from_array(np.zeros(len(scale), np.int8), f"{name}_zero_point"),
        ]
    )
    return helper.make_node(
        "DequantizeLinear",
        [f"{name}_quantized", f"{name}_scale", f"{name}_zero_point"],
        [f"{name}_dequantized"],
        name=f"{name}_DequantizeLinear",
        axis=axis,
    )
