"""Zero-points for TensorRT, whose INT8 has none: folded into the biases on either side of a tensor.

A symmetric s8 leaves half of its 256 values unused behind a ReLU. With q = -128 standing for 0 all are used: the bias
in front of the tensor takes off 128 scales, and the biases behind it add what their layers would miss, which is exact
for every layer that weighs all positions alike, so that no padding is in play; after Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018), section 2.3,
https://arxiv.org/abs/1712.05877. The ReLU, or a Clip from 0, goes: what lies below 0 saturates at -128.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from quantkit.graph.clamps import bounds_of
from quantkit.graph.uses import captured, drop_unused_constants

LEVELS, STEPS, BELOW = 127, 255, 128  # of s8: on either side of 0; from end to end; on the negative side
SUFFIX = "_from_zero"  # of what quantizes a tensor with a zero-point: it less its offset
SHIFTED = "quantkit.shifted"  # in the model's metadata: a JSON object, [name, offset] by tensor


@dataclass(frozen=True)
class _Site:
    """A tensor that can have a zero-point: its activation, its pair, and the layers whose biases change."""

    activation: onnx.NodeProto
    quantize: onnx.NodeProto
    dequantized: str
    scale: np.float32
    before: onnx.NodeProto
    behind: tuple[onnx.NodeProto, ...]  # that take the tensor
    beside: tuple[onnx.NodeProto, ...]  # whose output a sum adds the tensor to

    @property
    def tensor(self) -> str:
        return str(self.activation.output[0])

    @property
    def quantized(self) -> str:
        return f"{self.tensor}{SUFFIX}"

    @property
    def offset(self) -> float:
        return BELOW * float(self.scale)


def shifted(model: onnx.ModelProto) -> dict[str, tuple[str, float]]:
    """Tensors that :func:`fold_zero_points` shifted: how each is called in this model, and what its values lack."""
    text = next((entry.value for entry in model.metadata_props if entry.key == SHIFTED), "{}")
    try:
        found = {str(name): (str(own), float(offset)) for name, (own, offset) in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}  # another program's
    return found if all(math.isfinite(offset) for _, offset in found.values()) else {}


def fold_zero_points(quantized: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of what ``quantized_for_tensorrt`` gives, in which every tensor has a zero-point that can have one.

    That is what a ReLU, or a Clip from 0, makes of the output of a Conv or Gemm, or of its sum with something else, if
    all that takes it are Convs without padding, Gemms, and such sums.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(quantized)
    graph = _Graph(proto.graph)
    sites = list(graph.sites())
    inputs: dict[str, npt.NDArray[np.float64] | float] = defaultdict(float)  # what biases add for their layers' inputs
    outputs: dict[str, float] = defaultdict(float)  # what biases add to their layers' outputs
    moved = {}
    for site in sites:
        outputs[site.before.name] -= site.offset
        for node in site.behind:
            inputs[node.name] += site.offset * graph.weight_sums(node)
        for node in site.beside:
            outputs[node.name] += site.offset
        moved[site.tensor] = site.dequantized, site.offset
        moved[site.activation.input[0]] = site.quantized, site.offset
    if sites:
        layers = (node for node in proto.graph.node if node.name in outputs)
        in_place = {node.output[0]: (node.output[0], -outputs[node.name]) for node in layers}
        helper.set_model_props(
            proto, {e.key: e.value for e in proto.metadata_props} | {SHIFTED: json.dumps(in_place | moved)}
        )
        graph.add_to_biases({name: inputs[name] + outputs[name] for name in {*inputs, *outputs}})
        for site in sites:
            graph.start_from_zero(site)
        drop_unused_constants(proto.graph)
    return proto


class _Graph:
    """Who makes and who takes each tensor of a graph with pairs; nodes have unique names."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.producers = {name: node for node in graph.node for name in node.output}
        self.takers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.takers[name].append(node)
        inside = {name for node in graph.node for name in captured(node)}
        self.kept = inside | {output.name for output in graph.output}  # tensors that must keep their values
        self.names = {*self.constants, *self.producers, *self.takers, *self.kept}

    def sites(self) -> Iterator[_Site]:
        """Every tensor that can have a zero-point, in graph order."""
        for node in self.graph.node:
            if node.op_type in ("Relu", "Clip") and (site := self._site(node)) is not None:
                self.names.add(site.quantized)
                yield site

    def _site(self, activation: onnx.NodeProto) -> _Site | None:
        tensor = activation.output[0]
        before = self._layer_before(activation.input[0])
        quantize = self._only_taker(tensor, "QuantizeLinear")
        dequantize = None if quantize is None else self._only_taker(quantize.output[0], "DequantizeLinear")
        highest = self._highest(activation)
        if before is None or quantize is None or dequantize is None or highest is None:
            return None
        scale, zero_point = (self.constants.get(name) for name in quantize.input[1:3])
        own = {id(quantize), id(dequantize)}
        if scale is None or zero_point is None or {id(node) for node in self.takers[scale.name]} != own:
            return None
        if scale.data_type != TensorProto.FLOAT or scale.dims or numpy_helper.to_array(zero_point).any():
            return None
        behind, beside = [], []
        for node in self.takers[dequantize.output[0]]:
            if node.op_type == "Add":
                others = [name for name in node.input if name != dequantize.output[0]]
                layer = self._straight_layer(others[0]) if others else None
                if layer is None:
                    return None
                beside.append(layer)
            elif self._weighs_alike(node) and node.input[0] == dequantize.output[0]:
                behind.append(node)
            else:
                return None
        if (not behind and not beside) or f"{tensor}{SUFFIX}" in self.names:
            return None
        top = min(LEVELS * float(numpy_helper.to_array(scale)), highest)
        step = np.float32(top / STEPS)
        return _Site(activation, quantize, dequantize.output[0], step, before, tuple(behind), tuple(beside))

    def _only_taker(self, name: str, op_type: str) -> onnx.NodeProto | None:
        """The one node that takes a tensor, if it is of this type and the tensor need not keep its values."""
        takers = self.takers[name]
        alone = len(takers) == 1 and name not in self.kept
        return takers[0] if alone and takers[0].op_type == op_type else None

    def _highest(self, activation: onnx.NodeProto) -> float | None:
        """Where it cuts off above; None where it does not cut off at 0 below."""
        bounds = bounds_of(activation, self.constants)
        return bounds[1] if bounds is not None and bounds[0] == 0 < bounds[1] else None

    def _layer_before(self, name: str) -> onnx.NodeProto | None:
        """The layer whose bias adds to a tensor: it makes it, or a sum's part; None where more take what it makes."""
        node = self.producers.get(name)
        if node is None or node.op_type != "Add":
            return self._straight_layer(name)
        alone = len(self.takers[name]) == 1 and name not in self.kept
        layers = (self._straight_layer(operand) for operand in node.input) if alone else ()
        return next((layer for layer in layers if layer is not None), None)

    def _straight_layer(self, name: str) -> onnx.NodeProto | None:
        node = self.producers.get(name)
        alone = len(self.takers[name]) == 1 and name not in self.kept
        return node if alone and node is not None and self._is_plain(node) else None

    def _is_plain(self, node: onnx.NodeProto) -> bool:
        """True if a node is a Conv or Gemm of constants, whose bias adds to each output channel."""
        if node.op_type not in ("Conv", "Gemm") or self._weight(node) is None:
            return False
        bias = node.input[2] if len(node.input) > 2 else ""
        if bias and (bias not in self.constants or len(self.constants[bias].dims) != 1):
            return False
        factors = [a.f for a in node.attribute if a.name in ("alpha", "beta")]
        return all(factor == 1 for factor in factors) and not any(a.name == "transA" and a.i for a in node.attribute)

    def _weighs_alike(self, node: onnx.NodeProto) -> bool:
        """True if a constant more everywhere in a node's input is a constant more in each output channel."""
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        padded = any(attributes.get("pads", ())) or attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
        return self._is_plain(node) and not padded

    def _weight(self, node: onnx.NodeProto) -> onnx.TensorProto | None:
        """The constant that holds a weight, quantized or not."""
        maker = self.producers.get(node.input[1])
        quantized = maker is not None and maker.op_type == "DequantizeLinear"
        return self.constants.get(maker.input[0] if maker is not None and quantized else node.input[1])

    def _channels_axis(self, node: onnx.NodeProto) -> int:
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        return 0 if node.op_type == "Conv" or transposed else 1

    def weight_sums(self, node: onnx.NodeProto) -> npt.NDArray[np.float64]:
        """Of the weights that each output channel adds up, as the layer computes with them: float64 of shape (O,)."""
        weight, axis = self._weight(node), self._channels_axis(node)
        assert weight is not None
        values = np.moveaxis(numpy_helper.to_array(weight).astype(np.float64), axis, 0)
        sums: npt.NDArray[np.float64] = values.reshape(len(values), -1).sum(axis=1)
        maker = self.producers.get(node.input[1])
        if maker is not None:
            sums *= numpy_helper.to_array(self.constants[maker.input[1]]).astype(np.float64).reshape(-1)
        return sums

    def start_from_zero(self, site: _Site) -> None:
        """Take the activation out, and set the scale."""
        self.producers[site.activation.input[0]].output[0] = site.quantize.input[0] = site.quantized
        scale = self.constants[site.quantize.input[1]]
        scale.CopyFrom(numpy_helper.from_array(np.array(site.scale, np.float32), scale.name))
        self.graph.node.remove(site.activation)

    def add_to_biases(self, more: Mapping[str, npt.NDArray[np.float64] | float]) -> None:
        """Give the nodes biases of their own."""
        for node in self.graph.node:
            if node.name in more:
                weight = self._weight(node)
                assert weight is not None
                bias = self.constants.get(node.input[2]) if len(node.input) > 2 else None
                old = np.zeros(weight.dims[self._channels_axis(node)]) if bias is None else numpy_helper.to_array(bias)
                name = f"{node.name}_bias{SUFFIX}"
                while name in self.names:
                    name += "_"
                self.names.add(name)
                del node.input[2:]
                node.input.append(name)
                own = (old + more[node.name]).astype(np.float32)
                self.graph.initializer.append(numpy_helper.from_array(own, name))
