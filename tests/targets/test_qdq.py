"""What holds for every Q/DQ dialect: the model is valid and close, and exclusion is obeyed."""

from __future__ import annotations

import onnx
import pytest

from quantkit.targets.onnxruntime.qdq import quantized_for_onnxruntime
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from tests.graphs.quantized import dequantized_inputs, initializer, run, sqnr


@pytest.mark.parametrize("quantize", [quantized_for_onnxruntime, quantized_for_tensorrt])
def test_the_quantized_model_is_valid_and_close(tiny: tuple, quantize: object) -> None:
    quantized = quantize(*tiny).proto  # type: ignore[operator]
    onnx.checker.check_model(quantized, full_check=True)
    assert sqnr(run(tiny[0].load()), run(quantized)) > 25
    assert all(
        initializer(quantized, n.input[1]).min() > 0 for n in quantized.graph.node if "quantizeLinear" in n.op_type
    )


@pytest.mark.parametrize("quantize", [quantized_for_onnxruntime, quantized_for_tensorrt])
@pytest.mark.parametrize("pattern", ["conv2", "add", "fc", "*"])
def test_excluded_nodes_stay_in_floating_point(tiny: tuple, quantize: object, pattern: str) -> None:
    quantized = quantize(*tiny, exclude=[pattern]).proto  # type: ignore[operator]
    run(quantized)
    names = ["bn1_conv", "conv2", "add", "fc"] if pattern == "*" else [pattern]
    for node in quantized.graph.node:
        if node.name in names and node.op_type in ("Conv", "Gemm"):
            assert not dequantized_inputs(quantized, node.name)[1]
    if pattern == "*":
        assert not [n for n in quantized.graph.node if n.op_type == "QuantizeLinear"]
