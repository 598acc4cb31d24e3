"""ONNX Runtime's dialect: u8 activations with our ranges, weights of eight bits or seven."""

from __future__ import annotations

import numpy as np
import pytest

from quantkit.targets.onnxruntime.qdq import quantized_for_onnxruntime
from tests.graphs.quantized import initializer


def test_onnxruntime_dialect_is_u8_throughout_with_our_ranges(tiny: tuple) -> None:
    model, ranges = tiny
    quantized = quantized_for_onnxruntime(model, ranges).proto
    quantizers = [n for n in quantized.graph.node if n.op_type == "QuantizeLinear"]
    assert quantizers
    for node in quantizers:
        assert initializer(quantized, node.input[2]).dtype == np.uint8
    scale = initializer(quantized, "input_scale")
    wanted = (ranges["input"].high - ranges["input"].low) / 255
    assert scale == pytest.approx(wanted, rel=1e-6)


def test_seven_bit_weights_stay_within_64(tiny: tuple) -> None:
    for seven_bit, least, most in ((True, 60, 64), (False, 120, 128)):
        quantized = quantized_for_onnxruntime(*tiny, seven_bit_weights=seven_bit).proto
        weights = initializer(quantized, "w2_quantized").astype(int)
        assert least <= np.abs(weights).max() <= most
