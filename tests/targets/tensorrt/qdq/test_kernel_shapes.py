"""That Convs state their kernel_shape in Q/DQ models for TensorRT: 8.6 does not infer it from a weight with a pair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from quantkit.graph.graph import Graph, attribute
from quantkit.targets.tensorrt.lint import lint
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from tests.graphs.small import calibrated, network, opened, weights


def test_kernel_shapes_are_stated(tmp_path: Path) -> None:
    text = """(float[N,3,8,8] x) => (float[N,4,13,13] y) {
      a = Conv (x, w1)  b = Conv <kernel_shape = [1, 1]> (a, w2)  y = ConvTranspose <strides = [2, 2]> (b, w3)
    }"""
    constants = {"w1": weights(16, 3, 3, 3), "w2": weights(16, 16, 1, 1), "w3": weights(16, 4, 3, 3)}
    model = network(text, constants)
    ranges = calibrated(model, {"x": np.random.default_rng(0).normal(size=(8, 3, 8, 8)).astype(np.float32)}, tmp_path)
    quantized = quantized_for_tensorrt(opened(model, tmp_path), ranges.ranges).proto
    convs = list(Graph(quantized.graph).of_type("Conv", "ConvTranspose"))
    assert [list(attribute(node, "kernel_shape", ())) for node in convs] == [[3, 3], [1, 1], [3, 3]]
    assert "no-kernel-shape" not in {finding.rule for finding in lint(quantized)}
    onnx.checker.check_model(quantized)
