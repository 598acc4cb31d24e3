"""Graphs of which the linter has nothing to say."""

from __future__ import annotations

import numpy as np

from tests.graphs.lint.builder import Builder, Cases, layer_norm

CASES = Cases()
case = CASES.case


@case()
def chain(g: Builder) -> str:
    """Conv, Relu, MaxPool, Conv, BatchNorm-free: nothing to say."""
    a = g.add("Relu", g.conv(g.pair("x"), "a"), to="relu")
    pooled = g.add("MaxPool", a, to="pooled", kernel_shape=[2, 2])
    return g.conv(g.pair(pooled), "out")


@case()
def residual(g: Builder) -> str:
    a = g.add("Relu", g.conv(g.pair("x"), "a"), to="r")
    skip = g.pair(a)
    add = g.add("Add", g.conv(skip, "b"), skip, to="add")
    return g.conv(g.pair(g.add("Relu", add, to="r2")), "out")


@case()
def two_branches(g: Builder) -> str:
    x = g.pair("x")
    return g.add("Add", g.conv(x, "a"), g.pair(g.conv(x, "b")), to="out")


@case()
def both_sides_of_a_pool_and_of_an_add(g: Builder) -> str:
    one = g.pair("x")
    other = g.pair(g.add("Exp", "x", to="e"))
    pool = g.add("GlobalAveragePool", g.pair(g.add("Add", one, other, to="sum")), to="pool")
    return g.conv(g.pair(pool), "out")


@case()
def silu(g: Builder) -> str:
    a = g.conv(g.pair("x"), "a")
    gate = g.add("Sigmoid", a, to="gate")
    return g.conv(g.pair(g.add("Mul", a, gate, to="silu")), "out")


@case()
def silu_in_int8(g: Builder) -> str:
    a = g.pair("x")
    gate = g.add("Sigmoid", a, to="gate")
    return g.conv(g.pair(g.add("Mul", a, gate, to="silu")), "out")


@case()
def weights_quantized_in_the_graph(g: Builder) -> str:
    """As pytorch-quantization exports them, and a MatMul whose weight is transposed behind its pair."""
    weight = g.float_weight("w", 16, 16, 1, 1)
    quantized = g.quantize(weight, np.full(16, 0.01), np.zeros(16), axis=0)
    a = g.add("Conv", g.pair("x"), g.dequantize(quantized, axis=0), to="a")
    turned = g.add("Transpose", g.weight("m", 32, 64), to="turned", perm=[1, 0])
    return g.add("MatMul", g.pair(a), turned, to="out")


@case()
def a_layer_norm_without_pairs(g: Builder) -> str:
    return g.add("MatMul", g.pair(layer_norm(g, "x")), g.weight("w", 16, 16, axis=1), to="out")
