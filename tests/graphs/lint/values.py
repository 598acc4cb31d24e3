"""What a pair holds: scales, zero-points, types and axes; what it stands between and beside."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from tests.graphs.lint.builder import Builder, Cases

CASES = Cases()
case = CASES.case


@case(("scale-not-positive", "x_q"))
def zero_scale(g: Builder) -> str:
    return g.conv(g.pair("x", 0), "out")


@case(("scale-not-positive", "w_out_d"))
def a_dead_channel(g: Builder) -> str:
    out = g.conv(g.pair("x"), "out")
    g.constant("w_out_q_scale", [0.0, *[0.1] * 15])
    return out


@case(("scale-not-positive", "x_q"))
def nan_scale(g: Builder) -> str:
    return g.conv(g.pair("x", float("nan")), "out")


@case(("scale-not-positive", "x_q"))
def infinite_scale(g: Builder) -> str:
    return g.conv(g.pair("x", float("inf")), "out")


@case(("scale-not-constant", "x_q"))
def dynamic_scale(g: Builder) -> str:
    scale = g.add("Div", g.add("ReduceMax", "x", to="most", keepdims=0), g.constant("n", 127), to="scale")
    zero = g.constant("zero", 0, np.int8)
    quantized = g.add("QuantizeLinear", "x", scale, zero, to="x_q")
    return g.conv(g.add("DequantizeLinear", quantized, scale, zero, to="x_d"), "out")


@case(("scale-count", "w_out_d"))
def too_few_scales(g: Builder) -> str:
    out = g.conv(g.pair("x"), "out")
    g.constant("w_out_q_scale", np.full(8, 0.1))
    return out


@case(("half-scale-opset", "x_q"))
def half_scales(g: Builder) -> str:
    out = g.conv(g.pair("x"), "out")
    g.constant("x_q_scale", 0.1, np.float16)
    return out


@case(("newer-opset", ""))
def half_scales_in_opset_19(g: Builder) -> str:
    g.opset = 19
    return half_scales(g)


@case(("type-not-int8", "x_q"))
def u8(g: Builder) -> str:
    return g.conv(g.dequantize(g.quantize("x", dtype=np.uint8)), "out")


@case(("zero-point-not-zero", "x_q"))
def asymmetric(g: Builder) -> str:
    return g.conv(g.dequantize(g.quantize("x", zero=3)), "out")


@case(("no-zero-point", "x_q"))
def no_zero_point(g: Builder) -> str:
    g.constant("scale", 0.1)
    quantized = g.add("QuantizeLinear", "x", "scale", to="x_q")
    return g.conv(g.add("DequantizeLinear", quantized, "scale", to="x_d"), "out")


@case(("quantized-bias", "b_d"))
def bias(g: Builder) -> str:
    g.constant("b_q", np.arange(16), np.int32)
    g.constant("b_q_scale", np.full(16, 0.1))
    g.constant("b_q_zero", np.zeros(16), np.int32)
    return g.add("Conv", g.pair("x"), g.weight("w", 16, 16, 1, 1), g.dequantize("b_q", axis=0), to="out")


@case(("activation-per-channel", "x_q"))
def channels_of_an_activation(g: Builder) -> str:
    quantized = g.quantize("x", np.full(16, 0.1), np.zeros(16), axis=1)
    return g.conv(g.dequantize(quantized, axis=1), "out")


@case(("weight-axis", "w_d"))
def conv_axis(g: Builder) -> str:
    return g.add("Conv", g.pair("x"), g.weight("w", 16, 16, 1, 1, axis=1), to="out")


@case(("weight-axis", "w_d"))
def conv_transpose_axis(g: Builder) -> str:
    return g.add("ConvTranspose", g.pair("x"), g.weight("w", 16, 16, 1, 1, axis=0), to="out")


@case()
def conv_transpose(g: Builder) -> str:
    return g.add("ConvTranspose", g.pair("x"), g.weight("w", 16, 16, 1, 1, axis=1), to="out")


@case(("weight-axis-summed", "w_d"))
def matmul_axis(g: Builder) -> str:
    return g.add("MatMul", g.pair("x"), g.weight("w", 16, 16, axis=0), to="out")


@case()
def gemm_transposed(g: Builder) -> str:
    flat = g.add("Flatten", "x", to="flat")
    return g.add("Gemm", g.pair(flat), g.weight("w", 16, 1024, axis=0), to="out", transB=1)


@case(("unpaired", "x_q"))
def quantize_alone(g: Builder) -> str:
    g.quantize("x")
    return g.conv(g.pair(g.add("Relu", "x", to="r")), "out")


@case(("unpaired", "x_q"), ("unpaired", "r"))
def quantized_for_a_relu(g: Builder) -> str:
    relu = g.add("Relu", g.quantize("x"), to="relu_q")
    return g.conv(g.dequantize(relu, like="x_q", to="r"), "out")


@case(("quantized-port", "x_d"))
def integer_input(g: Builder) -> str:
    g.input_type = TensorProto.INT8
    g.constant("x_scale", 0.1)
    g.constant("x_zero", 0, np.int8)
    return g.conv(g.dequantize("x", to="x_d"), "out")


@case(("quantized-port", "out_q"))
def integer_output(g: Builder) -> str:
    return g.quantize(g.conv(g.pair("x"), "out"))


@case(("integer-operator", "sum_q"), ("unpaired", "sum_d"), ("unpaired", "x_q"))
def integer_operators(g: Builder) -> str:
    quantized = g.quantize("x")
    ends = [quantized, "x_q_scale", "x_q_zero"]
    g.add("QLinearAdd", *ends, *ends, "x_q_scale", "x_q_zero", to="sum_q", domain="com.microsoft")
    return g.conv(g.dequantize("sum_q", like="x_q"), "out")


@case(("pair-scales-differ", "x_q"))
def a_pair_of_two_scales(g: Builder) -> str:
    quantized = g.quantize("x")
    g.constant("other_scale", 0.2)
    g.constant("other_zero", 0, np.int8)
    return g.conv(g.dequantize(quantized, like="other"), "out")


@case(("block-quantized", "w_d"), ("newer-opset", ""))
def blocks(g: Builder) -> str:
    g.opset = 21
    weight = g.weight("w", 32, 16)
    g.nodes[-1].attribute.append(helper.make_attribute("block_size", 16))
    g.constant("w_q_scale", np.full((2, 16), 0.1))
    g.constant("w_q_zero", np.zeros((2, 16)), np.int8)
    return g.add("MatMul", g.pair("x"), weight, to="out")


@case(("newer-type", "x_q"), ("newer-opset", ""))
def fp8(g: Builder) -> str:
    g.opset = 19
    out = g.conv(g.pair("x"), "out")
    zero = g.constants["x_q_zero"]
    zero.CopyFrom(helper.make_tensor(zero.name, TensorProto.FLOAT8E4M3FN, [], [0.0]))
    return out


@case(("sparse-weights", "out"))
def two_of_four_are_zero(g: Builder) -> str:
    return _with_zeros(g, broken=0)


@case(("nearly-sparse", "out"))
def one_group_of_four_lacks_its_zeros(g: Builder) -> str:
    return _with_zeros(g, broken=1)


def _with_zeros(g: Builder, broken: int) -> str:
    out = g.conv(g.pair("x"), "out")
    values = np.full((16, 16, 1, 1), 100)
    values[:, ::2] = 0
    values[:broken, :4] = 100
    g.constant("w_out_q", values, np.int8)
    return out
