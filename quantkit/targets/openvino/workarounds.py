"""Keeps OpenVINO's CPU device from a fusion that computes wrong numbers."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import onnx

MEANS = {"ReduceMean", "ReduceSum", "GlobalAveragePool"}
PASSING = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Identity", "Cast"}
QUANTIZED = {"Gemm", "MatMul", "Conv"}
FEATURE_MAP = 4  # dimensions; their means come out right


def misfused(model: Any, graph: onnx.GraphProto) -> list[str]:
    """Outputs of the ONNX nodes that must not be quantized: products that read a mean over tokens.

    Where a scale by channel, such as the gain of a LayerNorm or of SmoothQuant, stands before or behind such a mean,
    OpenVINO moves it into the FakeQuantize that follows, whose limits then differ by channel, and the kernel of the
    mean takes them along the wrong axis: what a mean-pooled vision transformer puts out is noise (measured with
    2026.4.1, also on what ``nncf.quantize`` makes). It is the classifier's layer, which costs next to nothing in
    floating point. ``model`` is the FP32 ``openvino.Model`` of ``graph``.
    """
    ranks = {
        name: output.get_partial_shape().rank
        for operation in model.get_ops()
        for output in operation.outputs()
        for name in output.get_names()
    }
    takers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            takers[name].append(node)
    found = []
    for node in graph.node:
        rank = ranks.get(node.input[0]) if node.input else None
        if node.op_type not in MEANS or rank is None or rank.is_dynamic or rank.get_length() == FEATURE_MAP:
            continue
        waiting = list(node.output)
        while waiting:
            for taker in takers[waiting.pop()]:
                if taker.op_type in QUANTIZED:
                    found.append(taker.output[0])
                elif taker.op_type in PASSING:
                    waiting += taker.output
    return list(dict.fromkeys(found))
