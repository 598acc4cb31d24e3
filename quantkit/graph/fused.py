"""Which activations a quantizer ever needs, and what stands in for the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import onnx

from quantkit.core.ranges import TensorRange
from quantkit.transforms.prepare import folds

FUSES_WITH_ACTIVATION = {"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "Add"}
ACTIVATIONS = {"Relu", "Clip"}


def fused_outputs(graph: onnx.GraphProto) -> dict[str, str]:
    """Tensors that exist only inside a fused kernel, each with the tensor that leaves it.

    Those are the outputs of a Conv, Gemm, BatchNormalization and the like that feed one ReLU or Clip (or, after a Conv,
    one BatchNormalization that is folded into it) and nothing else.
    """
    consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            consumers[name].append(node)
        for attribute in node.attribute:  # a subgraph may take any tensor unseen
            if attribute.HasField("g") or attribute.graphs:
                return {}
    outputs = {output.name for output in graph.output}
    constants = {tensor.name for tensor in graph.initializer}
    constants.update(node.output[0] for node in graph.node if node.op_type == "Constant")
    uses = Counter(name for node in graph.node for name in node.input) + Counter(outputs)
    fused: dict[str, str] = {}
    for node in reversed(graph.node):
        name = node.output[0] if node.output else ""
        users = consumers[name]
        if (
            node.domain not in ("", "ai.onnx")
            or node.op_type not in FUSES_WITH_ACTIVATION
            or len(users) != 1
            or name in outputs
        ):
            continue
        user = users[0]
        folded = user.op_type == "BatchNormalization" and folds(node, user, constants, uses)
        if user.input[0] == name and (user.op_type in ACTIVATIONS or folded):
            fused[name] = fused.get(user.output[0], user.output[0])
    return fused


def with_fused(graph: onnx.GraphProto, ranges: Mapping[str, TensorRange]) -> dict[str, TensorRange]:
    """The ranges, and for each fused tensor without one that of the tensor it becomes: what lies beyond is cut off."""
    derived = {name: ranges[after] for name, after in fused_outputs(graph).items() if after in ranges}
    return derived | dict(ranges)
