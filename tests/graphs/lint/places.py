"""Where a pair stands: fusions that it breaks, sides that lack one, pairs for nothing."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from tests.graphs.lint.builder import Builder, Cases, batch_norm, layer_norm

CASES = Cases()
case = CASES.case


@case(("half-quantized", "out"))
def weight_only(g: Builder) -> str:
    return g.conv("x", "out")


@case(("half-quantized", "out"))
def activation_only(g: Builder) -> str:
    return g.add("Conv", g.pair("x"), g.float_weight("w", 16, 16, 1, 1), to="out")


@case()
def the_pair_behind_a_pool_before_a_float_gemm(g: Builder) -> str:
    pool = g.add("GlobalAveragePool", g.pair("x"), to="pool")
    flat = g.add("Flatten", g.pair(pool), to="flat")
    return g.add("Gemm", flat, g.float_weight("w", 16, 3), to="out")


@case(("no-kernel-shape", "out"))
def a_conv_without_a_kernel_shape(g: Builder) -> str:
    return g.conv(g.pair("x"), "out", kernel_shape=None)


@case(("clip-behind-float", "clip"))
def a_clip_between_a_float_conv_and_a_pair(g: Builder) -> str:
    conv = g.add("Conv", "x", g.float_weight("w", 16, 16, 1, 1), to="a")
    return g.conv(g.pair(g.add("Clip", conv, to="clip")), "out")


@case()
def a_relu_between_a_float_conv_and_a_pair(g: Builder) -> str:
    conv = g.add("Conv", "x", g.float_weight("w", 16, 16, 1, 1), to="a")
    return g.conv(g.pair(g.add("Relu", conv, to="relu")), "out")


def unbound(g: Builder, product: str) -> str:
    """Parts of a layer's output, as PyTorch's unbind takes them, one of which goes on."""
    g.constant("parts", [-1, 2, 16], np.int64)
    g.constant("axis", [1], np.int64)
    five = g.add("Reshape", g.add("Add", product, g.constant("b", np.ones(32)), to="biased"), "parts", to="five")
    g.nodes.append(helper.make_node("Split", [five], ["first", "second"], name="cut", axis=1))
    halves = [g.add("Squeeze", part, "axis", to=f"{part}_half") for part in ("first", "second")]
    scores = g.add("Mul", *halves, to="scores")
    return g.add("MatMul", g.pair(g.add("Tanh", scores, to="t")), g.weight("u", 16, 16, axis=1), to="out")


@case(("unbound-by-split", "cut"))
def parts_of_a_float_layer(g: Builder) -> str:
    return unbound(g, g.add("MatMul", "x", g.float_weight("w", 16, 32), to="a"))


@case()
def parts_of_a_layer_in_int8(g: Builder) -> str:
    return unbound(g, g.add("MatMul", g.pair("x"), g.weight("w", 16, 32, axis=1), to="a"))


def depthwise(g: Builder) -> str:
    return g.conv(g.pair("x"), "a", inputs=1, group=16)


@case(("depthwise-to-float", "a"))
def a_depthwise_conv_before_a_float_pool(g: Builder) -> tuple[str, str]:
    conv = depthwise(g)
    swish = g.add("Mul", conv, g.add("Sigmoid", conv, to="gate"), to="swish")
    return g.conv(g.pair(swish), "out"), g.add("GlobalMaxPool", swish, to="pool")


def residual(g: Builder, source: str, number: int) -> str:
    """A block whose activation keeps its Conv and its sum apart, and whose sum takes both in floating point."""
    conv = g.conv(g.pair(source), f"c{number}")
    return g.add("Add", source, g.add("Sigmoid", conv, to=f"s{number}"), to=f"sum{number}")


@case(("sum-to-float", "sum0"), ("sum-to-float", "sum1"))
def sums_in_a_chain(g: Builder) -> str:
    return g.conv(g.pair(residual(g, residual(g, g.add("Sigmoid", "x", to="a"), 0), 1)), "out")


@case()
def a_sum_that_floating_point_takes(g: Builder) -> str:
    return g.add("Softmax", residual(g, g.add("Sigmoid", "x", to="a"), 0), to="out")


@case()
def a_sum_that_the_model_puts_out(g: Builder) -> tuple[str, str]:
    total = residual(g, g.add("Sigmoid", "x", to="a"), 0)
    return g.conv(g.pair(total), "out"), total


@case()
def a_sum_that_the_model_puts_out_turned(g: Builder) -> tuple[str, str]:
    total = residual(g, g.add("Sigmoid", "x", to="a"), 0)
    return g.conv(g.pair(total), "out"), g.add("Transpose", total, to="turned")


def resized(g: Builder, scale: float, **attributes: object) -> tuple[str, str]:
    """A tensor that one Conv takes through a pair, and another one behind a Resize and a pair."""
    a = g.add("Sigmoid", "x", to="a")
    factors = g.constant("factors", [1, 1, 2, 2])
    larger = g.add("Resize", a, "", factors, to="larger", **attributes)
    return g.conv(g.pair(a), "near"), g.conv(g.pair(larger, scale), "far")


@case(("quantized-twice", "a_q"))
def two_scales_around_a_nearest_resize(g: Builder) -> tuple[str, str]:
    return resized(g, 0.2, mode="nearest")


@case()
def one_scale_around_a_nearest_resize(g: Builder) -> tuple[str, str]:
    return resized(g, 0.1)


@case()
def two_scales_around_a_linear_resize(g: Builder) -> tuple[str, str]:
    return resized(g, 0.2, mode="linear")


@case(("few-channels", "out"))  # not "a", whose every channel stands alone
def a_depthwise_conv_of_few_channels(g: Builder) -> str:
    return g.conv(g.pair(g.conv(g.pair("x"), "a", inputs=1, outputs=8, group=8)), "out", inputs=8)


@case(("depthwise-to-float", "a"))
def a_depthwise_conv_at_the_end(g: Builder) -> str:
    return g.add("Relu", depthwise(g), to="out")


@case()
def a_depthwise_conv_between_pairs(g: Builder) -> str:
    return g.conv(g.pair(g.add("Clip", depthwise(g), to="clip")), "out")


@case()
def a_depthwise_conv_with_a_residual(g: Builder) -> str:
    return g.conv(g.pair(g.add("Add", depthwise(g), "x_d", to="sum")), "out")


@case(("pair-inside-fusion", "a_q"))
def before_the_relu(g: Builder) -> str:
    relu = g.add("Relu", g.pair(g.conv(g.pair("x"), "a")), to="relu")
    return g.conv(g.pair(relu), "out")


@case(("pair-inside-fusion", "a_q"))
def before_the_batch_norm(g: Builder) -> str:
    return batch_norm(g, g.pair(g.conv(g.pair("x"), "a")))


@case(("pair-inside-fusion", "a_q"))
def before_the_bias(g: Builder) -> str:
    a = g.add("MatMul", g.pair("x"), g.weight("w", 16, 16, axis=1), to="a")
    return g.add("Add", g.pair(a), g.constant("b", np.ones(16)), to="out")


@case(("pair-inside-fusion", "a_q"))
def before_the_silu(g: Builder) -> str:
    a = g.pair(g.conv(g.pair("x"), "a"))
    gate = g.add("Sigmoid", a, to="gate")
    return g.conv(g.pair(g.add("Mul", a, gate, to="silu")), "out")


@case(("batch-norm-unfolded", "norm"))
def behind_a_conv(g: Builder) -> str:
    return batch_norm(g, g.conv(g.pair("x"), "a"))


@case(("pair-on-fused-branch", "out"))
def add_of_two_pairs(g: Builder) -> str:
    x = g.pair("x")
    return g.add("Add", g.pair(g.conv(x, "a")), x, to="out")


@case(("pair-on-fused-branch", "out"))
def add_of_two_convs_with_pairs(g: Builder) -> str:
    x = g.pair("x")
    return g.add("Add", g.pair(g.conv(x, "a")), g.pair(g.conv(x, "b")), to="out")


@case()
def a_skip_from_a_conv_that_feeds_others_too(g: Builder) -> str:
    skip = g.pair(g.conv(g.pair("x"), "a"))
    return g.add("Add", g.conv(skip, "b"), skip, to="out")


@case(("skip-without-pair", "out"))
def float_skip(g: Builder) -> str:
    return g.add("Add", g.conv(g.pair("x"), "a"), "x", to="out")


@case()
def float_residual_of_a_matrix_product(g: Builder) -> str:
    return g.add("Add", g.add("MatMul", g.pair("x"), g.weight("w", 16, 16, axis=1), to="a"), "x", to="out")


@case(("skip-without-pair", "out"))
def add_of_two_convs_without_pairs(g: Builder) -> str:
    x = g.pair("x")
    return g.add("Add", g.conv(x, "a"), g.conv(x, "b"), to="out")


@case(("pair-on-one-side", "sum"))
def add_with_one_pair(g: Builder) -> str:
    total = g.add("Add", g.pair("x"), g.add("Exp", "x", to="e"), to="sum")
    return g.conv(g.pair(total), "out")


@case(("pair-on-one-side", "pool"))
def pool_before_float(g: Builder) -> str:
    return g.add("GlobalAveragePool", g.pair("x"), to="pool")


@case(("pair-on-one-side", "pool"))
def pool_behind_float(g: Builder) -> str:
    return g.conv(g.pair(g.add("GlobalAveragePool", "x", to="pool")), "out")


@case(("concat-scales", "cat"))
def concat(g: Builder) -> str:
    e = g.add("Exp", "x", to="e")
    joined = g.add("Concat", g.pair("x"), g.pair(e, 0.2), to="cat", axis=1)
    return g.conv(g.pair(joined), "out", inputs=32)


@case()
def concat_of_one_scale(g: Builder) -> str:
    e = g.add("Exp", "x", to="e")
    return g.conv(g.pair(g.add("Concat", g.pair("x"), g.pair(e), to="cat", axis=1)), "out", inputs=32)


@case(("concat-scales", "cat"))
def concat_into_another_scale(g: Builder) -> str:
    e = g.add("Exp", "x", to="e")
    return g.conv(g.pair(g.add("Concat", g.pair("x"), g.pair(e), to="cat", axis=1), 0.2), "out", inputs=32)


@case(("requantized", "m_q"))
def other_scale_behind_a_pool(g: Builder) -> str:
    return g.conv(g.pair(g.add("MaxPool", g.pair("x"), to="m", kernel_shape=[1, 1]), 0.2), "out")


@case(("needless-pair", "m"))
def same_scale_behind_a_pool(g: Builder) -> str:
    return g.conv(g.pair(g.add("MaxPool", g.pair("x"), to="m", kernel_shape=[1, 1])), "out")


@case()
def two_pairs_of_one_scale(g: Builder) -> str:
    return g.conv(g.pair(g.pair("x")), "out")


@case(("quantized-twice", "again_q"))
def two_scales_of_one_tensor(g: Builder) -> list[str]:
    other = g.quantize("x", 0.2, name="again_q")
    return [g.conv(g.pair("x"), "out"), g.conv(g.dequantize(other), "out2")]


@case(("pair-in-normalization", "out"))
def softmax(g: Builder) -> str:
    return g.add("Softmax", g.pair("x"), to="out")


@case()
def behind_a_softmax(g: Builder) -> str:
    """What attention multiplies by is worth quantizing."""
    return g.add("MatMul", g.pair(g.add("Softmax", "x", to="p")), g.pair("x"), to="out")


def attention(g: Builder, scores: bool, mixed: bool) -> str:
    """Two products of activations around a Softmax, each with pairs or without."""
    q, k, v = (g.add(op, "x", to=op.lower()) for op in ("Exp", "Tanh", "Sin"))
    product = g.add("MatMul", *(g.pair(own) if scores else own for own in (q, k)), to="scores")
    p = g.add("Softmax", g.add("Add", product, g.constant("mask", 0.0), to="masked"), to="p")
    return g.add("MatMul", *(g.pair(own) if mixed else own for own in (p, v)), to="out")


@case(("split-attention", "out"))
def probabilities_alone_in_floating_point(g: Builder) -> str:
    return attention(g, scores=True, mixed=False)


@case(("split-attention", "out"))
def scores_alone_in_floating_point(g: Builder) -> str:
    return attention(g, scores=False, mixed=True)


@case()
def shares_of_a_layer(g: Builder) -> str:
    """No attention: the Softmax takes what a layer gives."""
    product = g.add("MatMul", g.pair("x"), g.weight("w", 16, 16, axis=1), to="scores")
    return g.add("MatMul", g.add("Softmax", product, to="p"), g.add("Tanh", "x", to="v"), to="out")


@case()
def attention_in_int8(g: Builder) -> str:
    return attention(g, scores=True, mixed=True)


@case(("pair-in-normalization", "mean"), ("pair-in-normalization", "centred"))
def before_a_layer_norm(g: Builder) -> str:
    return layer_norm(g, g.pair("x"))


@case(("small-matrix", "out"))
def few_classes(g: Builder) -> str:
    return g.add("MatMul", g.pair("x"), g.weight("w", 16, 10, axis=1), to="out")


@case(("few-channels", "out"))
def few_channels(g: Builder) -> str:
    return g.conv(g.pair("x"), "out", outputs=8)


@case(("pair-on-output", "out_d"))
def output(g: Builder) -> str:
    return g.pair(g.conv(g.pair("x"), "out"))


def split(g: Builder, source: str, scales: tuple[float, float]) -> list[str]:
    """Two halves of a tensor, each with a pair of its own."""
    g.nodes.append(helper.make_node("Split", [source], ["left", "right"], name="split", axis=2))
    return [g.conv(g.pair(half, scale), f"c_{half}") for half, scale in zip(("left", "right"), scales, strict=True)]


@case()
def parts_with_ranges_of_their_own(g: Builder) -> list[str]:
    return split(g, g.add("Relu", "x", to="r"), (0.1, 0.2))


@case(("requantized", "right_q"), ("needless-pair", "split"))
def parts_of_a_tensor_that_was_quantized_before(g: Builder) -> list[str]:
    return split(g, g.pair("x"), (0.1, 0.2))


@case(("quantized-twice", "r_q"))
def a_whole_tensor_moved_and_quantized_with_another_scale(g: Builder) -> list[str]:
    r = g.add("Relu", "x", to="r")
    deep = g.add("SpaceToDepth", r, to="deep", blocksize=2)
    return [g.conv(g.pair(r), "a"), g.conv(g.pair(deep, 0.2), "out", inputs=64)]


@case()
def a_cast_between_pairs_of_one_scale(g: Builder) -> str:
    """No pair moves over a Cast, so that neither is needless."""
    g.nodes.append(helper.make_node("Cast", [g.pair("x")], ["half"], name="half", to=TensorProto.FLOAT16))
    return g.conv(g.pair("half"), "out")


@case()
def an_input_through_a_gather(g: Builder) -> str:
    rows = g.add("Gather", g.pair("x"), g.constant("rows", [0, 2], np.int64), to="rows_of_x", axis=2)
    return g.conv(rows, "out")


@case(("pair-on-one-side", "pool"), ("half-quantized", "out"))
def a_pool_with_indices(g: Builder) -> str:
    g.nodes.append(helper.make_node("MaxPool", [g.pair("x")], ["pool", "i"], name="pool", kernel_shape=[2, 2]))
    return g.conv("pool", "out")


@case(("pair-in-normalization", "in_if"))
def taken_in_a_subgraph(g: Builder) -> str:
    """What a subgraph takes is used: no Conv and Add fusion, no crash."""
    inner = helper.make_graph(
        [helper.make_node("Identity", ["a"], ["inner"])],
        "inner",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    x = g.pair("x")
    a = g.conv(x, "a")
    g.add("If", g.constant("yes", True, np.bool_), to="if", then_branch=inner, else_branch=inner)
    g.outputs.append("if")
    g.outputs.append(g.add("Softmax", x, to="in_if"))
    return g.add("Add", a, g.add("Exp", "x", to="e"), to="out")
