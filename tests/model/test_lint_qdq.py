"""Each rule of the linter on the smallest graph that breaks it, and on models that break none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.errors import BadInput
from quantkit.model.file import open_model
from quantkit.model.lint import lint
from quantkit.model.lint.finding import RULES
from quantkit.model.lint.read import read_quantized
from quantkit.model.qdq_onnxruntime import quantized_for_onnxruntime
from quantkit.model.qdq_tensorrt import quantized_for_tensorrt
from quantkit.model.strongly_typed import quantized_half_precision
from tests.model.test_qdq import ranges_of, tiny  # noqa: F401 - a fixture


class Graph:
    """Builds a graph line by line. ``x`` is its input; a node is called as what it gives."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.outputs: list[str] = []
        self.input_type = TensorProto.FLOAT
        self.opset = 13

    def constant(self, name: str, values: object, dtype: type = np.float32) -> str:
        self.constants[name] = numpy_helper.from_array(np.array(values, dtype), name)
        return name

    def add(self, op: str, *inputs: str, to: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [to], name=to, **attributes))
        return to

    def quantize(
        self, tensor: str, scale: object = 0.1, zero: object = 0, dtype: type = np.int8, name: str = "", **axis: int
    ) -> str:
        name = name or f"{tensor}_q"
        constants = self.constant(f"{name}_scale", scale), self.constant(f"{name}_zero", zero, dtype)
        return self.add("QuantizeLinear", tensor, *constants, to=name, **axis)

    def dequantize(self, quantized: str, like: str = "", to: str = "", **axis: int) -> str:
        like = like or quantized
        return self.add(
            "DequantizeLinear", quantized, f"{like}_scale", f"{like}_zero", to=to or f"{quantized[:-2]}_d", **axis
        )

    def pair(self, tensor: str, scale: float = 0.1) -> str:
        return self.dequantize(self.quantize(tensor, scale))

    def weight(self, name: str, *shape: int, axis: int = 0) -> str:
        values = np.random.default_rng(0).integers(-127, 128, shape)
        self.constant(f"{name}_q", values, np.int8)
        self.constant(f"{name}_q_scale", np.full(shape[axis], 0.01))
        self.constant(f"{name}_q_zero", np.zeros(shape[axis]), np.int8)
        return self.dequantize(f"{name}_q", axis=axis)

    def float_weight(self, name: str, *shape: int) -> str:
        return self.constant(name, np.random.default_rng(0).standard_normal(shape))

    def conv(self, tensor: str, to: str, inputs: int = 16, outputs: int = 16, **attributes: object) -> str:
        return self.add("Conv", tensor, self.weight(f"w_{to}", outputs, inputs, 1, 1), to=to, **attributes)

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "case",
            [helper.make_tensor_value_info("x", self.input_type, [1, 16, 8, 8])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.outputs],
            list(self.constants.values()),
        )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets)


Found = set[tuple[str, str]]
CASES: dict[str, tuple[Callable[[Graph], object], Found]] = {}


def case(*found: tuple[str, str]) -> Callable[[Callable[[Graph], object]], Callable[[Graph], object]]:
    """A graph that ends in what the function returns, and the rules it breaks, each with the node at fault."""

    def register(build: Callable[[Graph], object]) -> Callable[[Graph], object]:
        CASES[build.__name__] = build, set(found)
        return build

    return register


def findings(build: Callable[[Graph], object]) -> Found:
    graph = Graph()
    end = build(graph)
    graph.outputs += [end] if isinstance(end, str) else list(end)  # type: ignore[call-overload]
    return {(f.rule, f.nodes[0] if f.nodes else "") for f in lint(graph.model())}


@case()
def chain(g: Graph) -> str:
    """Conv, Relu, MaxPool, Conv, BatchNorm-free: nothing to say."""
    a = g.add("Relu", g.conv(g.pair("x"), "a"), to="relu")
    pooled = g.add("MaxPool", a, to="pooled", kernel_shape=[2, 2])
    return g.conv(g.pair(pooled), "out")


@case()
def residual(g: Graph) -> str:
    a = g.add("Relu", g.conv(g.pair("x"), "a"), to="r")
    skip = g.pair(a)
    add = g.add("Add", g.conv(skip, "b"), skip, to="add")
    return g.conv(g.pair(g.add("Relu", add, to="r2")), "out")


@case()
def two_branches(g: Graph) -> str:
    x = g.pair("x")
    return g.add("Add", g.conv(x, "a"), g.pair(g.conv(x, "b")), to="out")


@case()
def both_sides_of_a_pool_and_of_an_add(g: Graph) -> str:
    one = g.pair("x")
    other = g.pair(g.add("Exp", "x", to="e"))
    pool = g.add("GlobalAveragePool", g.pair(g.add("Add", one, other, to="sum")), to="pool")
    return g.conv(g.pair(pool), "out")


@case()
def silu(g: Graph) -> str:
    a = g.conv(g.pair("x"), "a")
    gate = g.add("Sigmoid", a, to="gate")
    return g.conv(g.pair(g.add("Mul", a, gate, to="silu")), "out")


@case()
def silu_in_int8(g: Graph) -> str:
    a = g.pair("x")
    gate = g.add("Sigmoid", a, to="gate")
    return g.conv(g.pair(g.add("Mul", a, gate, to="silu")), "out")


@case()
def weights_quantized_in_the_graph(g: Graph) -> str:
    """As pytorch-quantization exports them, and a MatMul whose weight is transposed behind its pair."""
    weight = g.float_weight("w", 16, 16, 1, 1)
    quantized = g.quantize(weight, np.full(16, 0.01), np.zeros(16), axis=0)
    a = g.add("Conv", g.pair("x"), g.dequantize(quantized, axis=0), to="a")
    turned = g.add("Transpose", g.weight("m", 32, 64), to="turned", perm=[1, 0])
    return g.add("MatMul", g.pair(a), turned, to="out")


@case()
def depthwise(g: Graph) -> str:
    return g.conv(g.pair("x"), "out", inputs=1, outputs=8, group=8)


@case()
def a_layer_norm_without_pairs(g: Graph) -> str:
    return g.add("MatMul", g.pair(layer_norm(g, "x")), g.weight("w", 16, 16, axis=1), to="out")


def layer_norm(g: Graph, x: str) -> str:
    mean = g.add("ReduceMean", x, to="mean", axes=[-1])
    centred = g.add("Sub", x, mean, to="centred")
    square = g.add("Pow", centred, g.constant("two", 2), to="square")
    variance = g.add("ReduceMean", square, to="variance", axes=[-1])
    root = g.add("Sqrt", g.add("Add", variance, g.constant("eps", 1e-5), to="above"), to="root")
    return g.add("Div", centred, root, to="normal")


@case(("scale-not-positive", "x_q"))
def zero_scale(g: Graph) -> str:
    return g.conv(g.pair("x", 0), "out")


@case(("scale-not-positive", "w_out_d"))
def a_dead_channel(g: Graph) -> str:
    out = g.conv(g.pair("x"), "out")
    g.constant("w_out_q_scale", [0.0, *[0.1] * 15])
    return out


@case(("scale-not-positive", "x_q"))
def nan_scale(g: Graph) -> str:
    return g.conv(g.pair("x", float("nan")), "out")


@case(("scale-not-positive", "x_q"))
def infinite_scale(g: Graph) -> str:
    return g.conv(g.pair("x", float("inf")), "out")


@case(("scale-not-constant", "x_q"))
def dynamic_scale(g: Graph) -> str:
    scale = g.add("Div", g.add("ReduceMax", "x", to="most", keepdims=0), g.constant("n", 127), to="scale")
    zero = g.constant("zero", 0, np.int8)
    quantized = g.add("QuantizeLinear", "x", scale, zero, to="x_q")
    return g.conv(g.add("DequantizeLinear", quantized, scale, zero, to="x_d"), "out")


@case(("scale-count", "w_out_d"))
def too_few_scales(g: Graph) -> str:
    out = g.conv(g.pair("x"), "out")
    g.constant("w_out_q_scale", np.full(8, 0.1))
    return out


@case(("half-scale-opset", "x_q"))
def half_scales(g: Graph) -> str:
    out = g.conv(g.pair("x"), "out")
    g.constant("x_q_scale", 0.1, np.float16)
    return out


@case(("newer-opset", ""))
def half_scales_in_opset_19(g: Graph) -> str:
    g.opset = 19
    return half_scales(g)


@case(("type-not-int8", "x_q"))
def u8(g: Graph) -> str:
    return g.conv(g.dequantize(g.quantize("x", dtype=np.uint8)), "out")


@case(("zero-point-not-zero", "x_q"))
def asymmetric(g: Graph) -> str:
    return g.conv(g.dequantize(g.quantize("x", zero=3)), "out")


@case(("no-zero-point", "x_q"))
def no_zero_point(g: Graph) -> str:
    g.constant("scale", 0.1)
    quantized = g.add("QuantizeLinear", "x", "scale", to="x_q")
    return g.conv(g.add("DequantizeLinear", quantized, "scale", to="x_d"), "out")


@case(("quantized-bias", "b_d"))
def bias(g: Graph) -> str:
    g.constant("b_q", np.arange(16), np.int32)
    g.constant("b_q_scale", np.full(16, 0.1))
    g.constant("b_q_zero", np.zeros(16), np.int32)
    return g.add("Conv", g.pair("x"), g.weight("w", 16, 16, 1, 1), g.dequantize("b_q", axis=0), to="out")


@case(("activation-per-channel", "x_q"))
def channels_of_an_activation(g: Graph) -> str:
    quantized = g.quantize("x", np.full(16, 0.1), np.zeros(16), axis=1)
    return g.conv(g.dequantize(quantized, axis=1), "out")


@case(("weight-axis", "w_d"))
def conv_axis(g: Graph) -> str:
    return g.add("Conv", g.pair("x"), g.weight("w", 16, 16, 1, 1, axis=1), to="out")


@case(("weight-axis", "w_d"))
def conv_transpose_axis(g: Graph) -> str:
    return g.add("ConvTranspose", g.pair("x"), g.weight("w", 16, 16, 1, 1, axis=0), to="out")


@case()
def conv_transpose(g: Graph) -> str:
    return g.add("ConvTranspose", g.pair("x"), g.weight("w", 16, 16, 1, 1, axis=1), to="out")


@case(("weight-axis-summed", "w_d"))
def matmul_axis(g: Graph) -> str:
    return g.add("MatMul", g.pair("x"), g.weight("w", 16, 16, axis=0), to="out")


@case()
def gemm_transposed(g: Graph) -> str:
    flat = g.add("Flatten", "x", to="flat")
    return g.add("Gemm", g.pair(flat), g.weight("w", 16, 1024, axis=0), to="out", transB=1)


@case(("unpaired", "x_q"))
def quantize_alone(g: Graph) -> str:
    g.quantize("x")
    return g.conv(g.pair(g.add("Relu", "x", to="r")), "out")


@case(("unpaired", "x_q"))
def quantized_for_a_relu(g: Graph) -> str:
    relu = g.add("Relu", g.quantize("x"), to="relu_q")
    return g.conv(g.dequantize(relu, like="x_q", to="r"), "out")


CASES["quantized_for_a_relu"][1].add(("unpaired", "r"))


@case(("quantized-port", "x_d"))
def integer_input(g: Graph) -> str:
    g.input_type = TensorProto.INT8
    g.constant("x_scale", 0.1)
    g.constant("x_zero", 0, np.int8)
    return g.conv(g.dequantize("x", to="x_d"), "out")


@case(("quantized-port", "out_q"))
def integer_output(g: Graph) -> str:
    return g.quantize(g.conv(g.pair("x"), "out"))


@case(("integer-operator", "sum_q"), ("unpaired", "sum_d"), ("unpaired", "x_q"))
def integer_operators(g: Graph) -> str:
    quantized = g.quantize("x")
    ends = [quantized, "x_q_scale", "x_q_zero"]
    g.add("QLinearAdd", *ends, *ends, "x_q_scale", "x_q_zero", to="sum_q", domain="com.microsoft")
    return g.conv(g.dequantize("sum_q", like="x_q"), "out")


@case(("pair-scales-differ", "x_q"))
def a_pair_of_two_scales(g: Graph) -> str:
    quantized = g.quantize("x")
    g.constant("other_scale", 0.2)
    g.constant("other_zero", 0, np.int8)
    return g.conv(g.dequantize(quantized, like="other"), "out")


@case(("half-quantized", "out"))
def weight_only(g: Graph) -> str:
    return g.conv("x", "out")


@case(("half-quantized", "out"))
def activation_only(g: Graph) -> str:
    return g.add("Conv", g.pair("x"), g.float_weight("w", 16, 16, 1, 1), to="out")


@case()
def the_pair_behind_a_pool_before_a_float_gemm(g: Graph) -> str:
    pool = g.add("GlobalAveragePool", g.pair("x"), to="pool")
    flat = g.add("Flatten", g.pair(pool), to="flat")
    return g.add("Gemm", flat, g.float_weight("w", 16, 3), to="out")


@case(("pair-inside-fusion", "a_q"))
def before_the_relu(g: Graph) -> str:
    relu = g.add("Relu", g.pair(g.conv(g.pair("x"), "a")), to="relu")
    return g.conv(g.pair(relu), "out")


@case(("pair-inside-fusion", "a_q"))
def before_the_batch_norm(g: Graph) -> str:
    return batch_norm(g, g.pair(g.conv(g.pair("x"), "a")))


@case(("pair-inside-fusion", "a_q"))
def before_the_bias(g: Graph) -> str:
    a = g.add("MatMul", g.pair("x"), g.weight("w", 16, 16, axis=1), to="a")
    return g.add("Add", g.pair(a), g.constant("b", np.ones(16)), to="out")


@case(("pair-inside-fusion", "a_q"))
def before_the_silu(g: Graph) -> str:
    a = g.pair(g.conv(g.pair("x"), "a"))
    gate = g.add("Sigmoid", a, to="gate")
    return g.conv(g.pair(g.add("Mul", a, gate, to="silu")), "out")


@case(("batch-norm-unfolded", "norm"))
def behind_a_conv(g: Graph) -> str:
    return batch_norm(g, g.conv(g.pair("x"), "a"))


def batch_norm(g: Graph, x: str) -> str:
    return g.add("BatchNormalization", x, *(g.constant(name, np.ones(16)) for name in "gbmv"), to="norm")


@case(("pair-on-fused-branch", "out"))
def add_of_two_pairs(g: Graph) -> str:
    x = g.pair("x")
    return g.add("Add", g.pair(g.conv(x, "a")), x, to="out")


@case(("pair-on-fused-branch", "out"))
def add_of_two_convs_with_pairs(g: Graph) -> str:
    x = g.pair("x")
    return g.add("Add", g.pair(g.conv(x, "a")), g.pair(g.conv(x, "b")), to="out")


@case()
def a_skip_from_a_conv_that_feeds_others_too(g: Graph) -> str:
    skip = g.pair(g.conv(g.pair("x"), "a"))
    return g.add("Add", g.conv(skip, "b"), skip, to="out")


@case(("skip-without-pair", "out"))
def float_skip(g: Graph) -> str:
    return g.add("Add", g.conv(g.pair("x"), "a"), "x", to="out")


@case()
def float_residual_of_a_matrix_product(g: Graph) -> str:
    return g.add("Add", g.add("MatMul", g.pair("x"), g.weight("w", 16, 16, axis=1), to="a"), "x", to="out")


@case(("skip-without-pair", "out"))
def add_of_two_convs_without_pairs(g: Graph) -> str:
    x = g.pair("x")
    return g.add("Add", g.conv(x, "a"), g.conv(x, "b"), to="out")


@case(("pair-on-one-side", "sum"))
def add_with_one_pair(g: Graph) -> str:
    total = g.add("Add", g.pair("x"), g.add("Exp", "x", to="e"), to="sum")
    return g.conv(g.pair(total), "out")


@case(("pair-on-one-side", "pool"))
def pool_before_float(g: Graph) -> str:
    return g.add("GlobalAveragePool", g.pair("x"), to="pool")


@case(("pair-on-one-side", "pool"))
def pool_behind_float(g: Graph) -> str:
    return g.conv(g.pair(g.add("GlobalAveragePool", "x", to="pool")), "out")


@case(("concat-scales", "cat"))
def concat(g: Graph) -> str:
    e = g.add("Exp", "x", to="e")
    joined = g.add("Concat", g.pair("x"), g.pair(e, 0.2), to="cat", axis=1)
    return g.conv(g.pair(joined), "out", inputs=32)


@case()
def concat_of_one_scale(g: Graph) -> str:
    e = g.add("Exp", "x", to="e")
    return g.conv(g.pair(g.add("Concat", g.pair("x"), g.pair(e), to="cat", axis=1)), "out", inputs=32)


@case(("concat-scales", "cat"))
def concat_into_another_scale(g: Graph) -> str:
    e = g.add("Exp", "x", to="e")
    return g.conv(g.pair(g.add("Concat", g.pair("x"), g.pair(e), to="cat", axis=1), 0.2), "out", inputs=32)


@case(("requantized", "m_q"))
def other_scale_behind_a_pool(g: Graph) -> str:
    return g.conv(g.pair(g.add("MaxPool", g.pair("x"), to="m", kernel_shape=[1, 1]), 0.2), "out")


@case(("needless-pair", "m"))
def same_scale_behind_a_pool(g: Graph) -> str:
    return g.conv(g.pair(g.add("MaxPool", g.pair("x"), to="m", kernel_shape=[1, 1])), "out")


@case()
def two_pairs_of_one_scale(g: Graph) -> str:
    return g.conv(g.pair(g.pair("x")), "out")


@case(("quantized-twice", "x_q"))
def two_scales_of_one_tensor(g: Graph) -> list[str]:
    other = g.quantize("x", 0.2, name="again_q")
    return [g.conv(g.pair("x"), "out"), g.conv(g.dequantize(other), "out2")]


CASES["two_scales_of_one_tensor"][1].clear()
CASES["two_scales_of_one_tensor"][1].add(("quantized-twice", "again_q"))


@case(("pair-in-normalization", "out"))
def softmax(g: Graph) -> str:
    return g.add("Softmax", g.pair("x"), to="out")


@case()
def behind_a_softmax(g: Graph) -> str:
    """What attention multiplies by is worth quantizing."""
    return g.add("MatMul", g.pair(g.add("Softmax", "x", to="p")), g.pair("x"), to="out")


@case(("pair-in-normalization", "mean"), ("pair-in-normalization", "centred"))
def before_a_layer_norm(g: Graph) -> str:
    return layer_norm(g, g.pair("x"))


@case(("small-matrix", "out"))
def few_classes(g: Graph) -> str:
    return g.add("MatMul", g.pair("x"), g.weight("w", 16, 10, axis=1), to="out")


@case(("few-channels", "out"))
def few_channels(g: Graph) -> str:
    return g.conv(g.pair("x"), "out", outputs=8)


@case(("pair-on-output", "out_d"))
def output(g: Graph) -> str:
    return g.pair(g.conv(g.pair("x"), "out"))


@case(("block-quantized", "w_d"), ("newer-opset", ""))
def blocks(g: Graph) -> str:
    g.opset = 21
    weight = g.weight("w", 32, 16)
    g.nodes[-1].attribute.append(helper.make_attribute("block_size", 16))
    g.constant("w_q_scale", np.full((2, 16), 0.1))
    g.constant("w_q_zero", np.zeros((2, 16)), np.int8)
    return g.add("MatMul", g.pair("x"), weight, to="out")


@case(("newer-type", "x_q"), ("newer-opset", ""))
def fp8(g: Graph) -> str:
    g.opset = 19
    out = g.conv(g.pair("x"), "out")
    zero = g.constants["x_q_zero"]
    zero.CopyFrom(helper.make_tensor(zero.name, TensorProto.FLOAT8E4M3FN, [], [0.0]))
    return out


@case(("pair-in-normalization", "in_if"))
def taken_in_a_subgraph(g: Graph) -> str:
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


@pytest.mark.parametrize("name", CASES)
def test_a_graph_breaks_these_rules_and_no_others(name: str) -> None:
    build, expected = CASES[name]
    assert findings(build) == expected


def test_every_rule_has_its_case() -> None:
    assert {rule for _, found in CASES.values() for rule, _ in found} == set(RULES)


def test_every_rule_is_documented() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "tensorrt-qdq.md"
    if not page.exists():
        pytest.skip("the docs are not here")
    sections = page.read_text(encoding="utf-8").split("\n## ")
    for rule, (severity, _) in RULES.items():
        (section,) = (text for text in sections if f"`{rule}`" in text)
        assert section.lower().startswith(severity), rule


def test_a_finding_says_what_is_wrong_and_how_to_mend_it(tiny: tuple) -> None:  # noqa: F811
    for finding in lint(quantized_for_onnxruntime(*tiny)):
        assert finding.what.endswith(".")
        assert finding.mend.endswith(".")
        assert finding.nodes


def test_our_own_models_have_no_errors(tiny: tuple) -> None:  # noqa: F811
    quantized = quantized_for_tensorrt(*tiny)
    for model in (quantized, quantized_half_precision(quantized)):
        assert {f.rule for f in lint(model)} <= {"few-channels", "newer-opset"}


def test_the_onnxruntime_dialect_is_told_apart(tiny: tuple) -> None:  # noqa: F811
    found = lint(quantized_for_onnxruntime(*tiny))
    rules = {f.rule for f in found}
    assert {"zero-point-not-zero", "type-not-int8", "quantized-bias", "pair-on-fused-branch"} <= rules
    (add,) = (f for f in found if f.rule == "pair-on-fused-branch")
    assert add.nodes == ("add", "conv2")


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet20"])
def test_real_models_have_no_errors(name: str, shared: Path) -> None:
    model = open_model(shared / "models" / f"{name}_cifar10.onnx")
    size = model.inputs[0].shape[2]
    x = np.random.default_rng(0).standard_normal((1, 3, size, size)).astype(np.float32)
    found = lint(quantized_for_tensorrt(model, ranges_of(model, {model.inputs[0].name: x})))
    assert [f for f in found if f.severity == "error"] == []


def test_a_model_without_pairs_is_bad_input(model_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no QuantizeLinear"):
        lint(read_quantized(model_path))


def test_scales_in_an_external_file_are_read(tmp_path: Path) -> None:
    graph = Graph()
    graph.outputs.append(str(a_dead_channel(graph)))
    onnx.save(graph.model(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    assert {f.rule for f in lint(read_quantized(tmp_path / "m.onnx"))} == {"scale-not-positive"}
    (tmp_path / "m.data").unlink()
    with pytest.raises(BadInput, match="missing"):
        read_quantized(tmp_path / "m.onnx")


def test_scales_outside_the_folder_are_not_read(tmp_path: Path) -> None:
    graph = Graph()
    graph.outputs.append(str(chain(graph)))
    (tmp_path / "in").mkdir()
    onnx.save(
        graph.model(), tmp_path / "in" / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0
    )
    model = onnx.load(tmp_path / "in" / "m.onnx", load_external_data=False)
    (tmp_path / "in" / "m.data").rename(tmp_path / "m.data")
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../m.data" if entry.key == "location" else entry.value
    (tmp_path / "in" / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BadInput, match="outside"):
        read_quantized(tmp_path / "in" / "m.onnx")


def test_damaged_models_are_bad_input_or_linted(tiny: tuple, tmp_path: Path) -> None:  # noqa: F811
    """Bytes turned over and nodes rewired, loops among them: never a traceback, and never for ever."""
    quantized = quantized_for_onnxruntime(*tiny)
    rng = np.random.default_rng(0)
    whole = np.frombuffer(quantized.SerializeToString(), np.uint8)
    for _ in range(150):
        model = onnx.ModelProto.FromString(whole.tobytes())
        names = [name for node in model.graph.node for name in (*node.input, *node.output)]
        for node in rng.choice(np.array(model.graph.node, object), 4):
            if len(node.input):
                node.input[rng.integers(len(node.input))] = str(rng.choice(names))
            if rng.random() < 0.3:
                del node.input[rng.integers(len(node.input) + 1) :]
            if rng.random() < 0.2:
                node.op_type = str(rng.choice(["MaxPool", "Add", "DequantizeLinear", "Softmax", "Concat"]))
            if rng.random() < 0.1:
                del node.output[:]
        for tensor in rng.choice(np.array(model.graph.initializer, object), 1):
            tensor.raw_data = tensor.raw_data[: rng.integers(len(tensor.raw_data) + 1)]
        try_lint(model.SerializeToString(), tmp_path / "m.onnx")
        bytes_ = whole.copy()
        bytes_[rng.integers(len(whole), size=5)] = rng.integers(256, size=5)
        try_lint(bytes_.tobytes(), tmp_path / "m.onnx")


def try_lint(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    try:
        lint(read_quantized(path))
    except BadInput as error:
        assert error.mend
