"""Whether a model is quantized already is told from any tool's form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from quantkit.core.errors import BadModel
from quantkit.graph.model_file import open_model
from quantkit.graph.quantized import quantization_of
from quantkit.graph.summary import summarize
from tests.conftest import tiny_model

HEAD = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> g (float[N,4] x) => (float[N,4] y)'
SCALE = (
    "<float s = {0.1}, uint8 u = {128}, int8 z = {0}, int8 a = {3}, float[4,4] w = {1,0,0,0,0,1,0,0,0,0,1,0,0,0,0,1}>"
)
PAIRED = "{{ q = QuantizeLinear(x, s, {0})  d = DequantizeLinear(q, s, {0})  y = MatMul(d, w) }}"
INNER = """{ t = Constant<value_float = 1.0>()  c = Cast<to = 9>(t)
  y = If<then_branch = a () => (float[N,4] p) { q = QuantizeLinear(x, s, u)  p = DequantizeLinear(q, s, u) },
         else_branch = b () => (float[N,4] r) { r = Identity(x) }>(c) }"""
NBITS = "{ y = com.microsoft.MatMulNBits<K = 4, N = 4, bits = 4, block_size = 16>(x, b, s) }"
WEIGHTS = "{ q = QuantizeLinear(w, s, z)  d = DequantizeLinear(q, s, z)  y = MatMul(x, d) }"


def parsed(body: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f"{HEAD} {SCALE} {body}")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (PAIRED.format("u"), "1 Q/DQ pair of uint8: affine, as ONNX Runtime and OpenVINO run it"),
        (PAIRED.format("z"), "1 Q/DQ pair of int8: symmetric, as TensorRT runs it"),
        (PAIRED.format("a"), "1 Q/DQ pair of int8: affine and signed, as onnxruntime's quantizer writes it by default"),
        (INNER, "1 Q/DQ pair of uint8: affine, as ONNX Runtime and OpenVINO run it"),
        (NBITS, "1 operator on integers (1 MatMulNBits): weights alone, like onnxruntime's blocks"),
    ],
)
def test_forms_of_quantization(body: str, said: str) -> None:
    found = quantization_of(parsed(body))
    assert found is not None
    assert found.describe() == said


def test_weights_that_are_rounded_alone_are_constants_of_a_floating_point_model(tmp_path: Path) -> None:
    onnx.save(parsed(WEIGHTS), tmp_path / "m.onnx")
    model = open_model(tmp_path / "m.onnx")
    assert summarize(model).quantization is None
    assert summarize(model).rewritten == ("1 computed constants folded",)
    weight = next(tensor for tensor in model.load().graph.initializer if tensor.name == "d")
    np.testing.assert_allclose(onnx.numpy_helper.to_array(weight), np.eye(4), rtol=1e-6)


class Reader(CalibrationDataReader):
    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.feeds = iter([{"input": random.normal(size=(1, 3, 16, 16)).astype(np.float32)} for _ in range(3)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


@pytest.mark.parametrize(
    ("tool", "said", "readable"),
    [
        (QuantFormat.QDQ, "Q/DQ pairs of uint8", True),
        (QuantFormat.QOperator, "like onnxruntime's QOperator format", False),
        (None, "like onnxruntime's dynamic quantization", False),
    ],
)
def test_what_onnxruntime_quantized(tmp_path: Path, tool: QuantFormat | None, said: str, readable: bool) -> None:
    source, made = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(tiny_model(), source)
    if tool is None:
        quantize_dynamic(source, made)
    else:
        quantize_static(source, made, Reader(), quant_format=tool, activation_type=QuantType.QUInt8)
    with pytest.raises(BadModel, match="is quantized already") as refused:
        open_model(made)
    assert said in str(refused.value)
    assert ("quantkit convert" in str(refused.value) and "quantkit lint" in str(refused.value)) == readable
    found = summarize(open_model(made, quantized_too=True)).quantization
    assert found is not None
    assert said in found.describe()
    assert found.has_pairs == readable
