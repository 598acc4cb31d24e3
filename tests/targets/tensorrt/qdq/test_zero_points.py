"""Zero-points folded into biases: TensorRT's symmetric s8 computes what u8 with a zero-point of 0 would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.ranges import TensorRange
from quantkit.graph.model_file import open_model
from quantkit.qdq.metadata import SHIFTED, shifted
from quantkit.qdq.reader import read_qdq
from quantkit.runtime.layer_outputs import OnnxOutputs
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from quantkit.targets.tensorrt.qdq.zero_points import fold_zero_points
from tests.graphs.quantized import sqnr

C = 16
X = np.random.default_rng(1).standard_normal((2, C, 8, 8)).astype(np.float32)


class Net:
    """Builds a model line by line; a node is called as what it gives. Its input is "x", its output "y"."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.rng = np.random.default_rng(0)

    def constant(self, name: str, *shape: int, scale: float = 0.3) -> str:
        self.constants[name] = numpy_helper.from_array(
            (self.rng.standard_normal(shape) * scale).astype(np.float32), name
        )
        return name

    def value(self, name: str, value: float) -> str:
        self.constants[name] = numpy_helper.from_array(np.array(value, np.float32), name)
        return name

    def add(self, op: str, *inputs: str, to: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [to], name=to, **attributes))
        return to

    def conv(self, source: str, to: str, size: int = 1, bias: bool = True, group: int = 1, **attributes: Any) -> str:
        weights = [self.constant(f"w_{to}", C, C // group, size, size)]
        weights += [self.constant(f"b_{to}", C)] if bias else []
        return self.add("Conv", source, *weights, to=to, group=group, **attributes)

    def padded(self, source: str, to: str) -> str:
        return self.conv(source, to, size=3, pads=[1, 1, 1, 1])

    def model(self, *outputs: str) -> onnx.ModelProto:
        shape = ["n", "c"] if self.nodes[-1].op_type == "Gemm" else ["n", "c", "h", "w"]
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs or ("y",)]
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
            values,
            list(self.constants.values()),
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def behind_one(g: Net) -> None:
    g.conv(g.add("Relu", g.padded("x", "a"), to="t"), "y", bias=False)


def behind_a_clip(g: Net) -> None:
    bounds = g.value("zero", 0), g.value("six", 6)
    g.conv(g.add("Clip", g.conv("x", "a", bias=False), *bounds, to="t"), "y", size=3, strides=[2, 2])


def behind_a_clip_below_the_range(g: Net) -> None:
    bounds = g.value("zero", 0), g.value("half", 0.5)
    g.conv(g.add("Clip", g.conv("x", "a"), *bounds, to="t"), "y")


def in_groups(g: Net) -> None:
    g.conv(g.add("Relu", g.conv("x", "a", size=3, group=C), to="t"), "y", size=2, group=4)


def between_gemms(g: Net, **attributes: Any) -> None:
    flat = g.add("Flatten", g.conv("x", "a", size=8), to="flat")
    g.add("Relu", g.add("Gemm", flat, g.constant("w", C, 32), to="b"), to="t")
    g.add("Gemm", "t", g.constant("v", 16, 32), g.constant("c", 16), to="y", transB=1, **attributes)


def to_a_scaled_gemm(g: Net) -> None:
    between_gemms(g, alpha=0.5)


def a_residual_block(g: Net) -> None:
    """Both the block's input and its output, and the tensor inside it that a Conv without padding takes."""
    g.add("Relu", g.conv("x", "a"), to="t")
    inner = g.add("Relu", g.padded(g.add("Relu", g.conv("t", "b"), to="u"), "c"), to="v")
    g.add("Relu", g.add("Add", g.conv(inner, "d"), "t", to="sum"), to="w")
    g.conv("w", "y")


FOLDED = {
    behind_one: {"t"},
    behind_a_clip: {"t"},
    behind_a_clip_below_the_range: {"t"},
    in_groups: {"t"},
    between_gemms: {"t"},
    to_a_scaled_gemm: {"t"},
    a_residual_block: {"t", "v", "w"},
}


def before_padding(g: Net) -> None:
    g.padded(g.add("Relu", g.conv("x", "a"), to="t"), "y")


def before_padding_by_name(g: Net) -> None:
    g.conv(g.add("Relu", g.conv("x", "a"), to="t"), "y", size=3, auto_pad="SAME_UPPER")


def before_padding_and_none(g: Net) -> None:
    g.add("Relu", g.conv("x", "a"), to="t")
    g.add("Add", g.padded("t", "b"), g.conv("t", "c"), to="y")


def below_zero(g: Net) -> None:
    g.conv(g.add("Clip", g.conv("x", "a"), g.value("low", -1), g.value("high", 6), to="t"), "y")


def leaky(g: Net) -> None:
    g.conv(g.add("LeakyRelu", g.conv("x", "a"), to="t"), "y")


def taken_before_the_relu(g: Net) -> None:
    g.add("Relu", g.conv("x", "a"), to="t")
    g.add("Mul", g.conv("t", "b"), g.add("Sigmoid", "a", to="s"), to="y")


def through_a_pool(g: Net) -> None:
    pool = g.add("MaxPool", g.add("Relu", g.conv("x", "a"), to="t"), to="p", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    g.conv(pool, "y")


def to_a_product_of_two(g: Net) -> None:
    g.add("Relu", g.conv("x", "a"), to="t")
    g.add("MatMul", "t", "t", to="y")


LEFT = [
    before_padding,
    before_padding_by_name,
    before_padding_and_none,
    below_zero,
    leaky,
    taken_before_the_relu,
    through_a_pool,
    to_a_product_of_two,
]


def run(model: onnx.ModelProto) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options).run(None, {"x": X})[0]  # type: ignore[no-any-return]


def values_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output]
    del whole.graph.output[:]
    whole.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = ort.InferenceSession(whole.SerializeToString())
    return {"x": X} | dict(zip(names, session.run(names, {"x": X}), strict=True))


def quantized(build: Any, folder: Path, *outputs: str) -> tuple[onnx.ModelProto, dict[str, TensorRange]]:
    """The Q/DQ model, with 9/10 of each tensor's range, so that some values saturate."""
    g = Net()
    build(g)
    model = g.model(*outputs)
    onnx.save(model, folder / "m.onnx")
    values = {name: 0.9 * value for name, value in values_of(model).items()}
    ranges = {
        name: TensorRange.symmetric(float(np.abs(v).max()), float(v.min()), float(v.max()))
        for name, v in values.items()
    }
    if build is behind_a_clip_below_the_range:
        ranges["t"] = TensorRange.symmetric(1.0, 0.0, 1.0)  # another tool's: measured, no range exceeds the Clip
    return quantized_for_tensorrt(open_model(folder / "m.onnx"), ranges).proto, ranges


def unsigned(model: onnx.ModelProto, tops: Mapping[str, float]) -> onnx.ModelProto:
    """The model with u8 pairs and zero-point 0 on these tensors, from 0 to their top: what folding should compute."""
    found = onnx.ModelProto()
    found.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in found.graph.initializer}
    for name, top in tops.items():
        for key, value in (("scale", np.float32(top / 255)), ("zero_point", np.uint8(0))):
            own = constants[f"{name}_{key}"]
            own.CopyFrom(numpy_helper.from_array(np.array(value), own.name))
    return found


@pytest.mark.parametrize("build", FOLDED)
def test_the_folded_model_computes_what_u8_would(build: Any, tmp_path: Path) -> None:
    plain, ranges = quantized(build, tmp_path)
    folded = fold_zero_points(plain)
    onnx.checker.check_model(folded)
    names = {name for name, (own, _) in shifted(folded).items() if own.endswith("_dequantized")}
    assert names == FOLDED[build]
    clips = [node for node in plain.graph.node if node.op_type == "Clip"]  # those that their pairs make no ReLU
    assert bool(clips) == (build is behind_a_clip_below_the_range)
    assert not [node for node in folded.graph.node if node.op_type == "Clip" or node.output[0] in names]
    tops = {name: 0.5 if build is behind_a_clip_below_the_range else ranges[name].amax for name in names}
    tops = {name: min(top, ranges[name].amax) for name, top in tops.items()}
    got, wanted = run(folded), run(unsigned(plain, tops))
    assert sqnr(wanted, got) > 80  # but for FP32's rounding, and the few values that it moves over the half of a step
    exact = run(open_model(tmp_path / "m.onnx").load())
    assert sqnr(exact, got) > sqnr(exact, run(plain))


@pytest.mark.parametrize("build", LEFT)
def test_where_it_would_not_be_exact_nothing_changes(build: Any, tmp_path: Path) -> None:
    plain, _ = quantized(build, tmp_path)
    assert fold_zero_points(plain) == plain


def test_a_tensor_that_the_model_puts_out_keeps_its_values(tmp_path: Path) -> None:
    plain, _ = quantized(behind_one, tmp_path, "y", "t")
    assert fold_zero_points(plain) == plain


def test_a_dequantized_tensor_that_is_an_output_keeps_its_values(tmp_path: Path) -> None:
    plain, _ = quantized(behind_one, tmp_path)
    plain.graph.output.append(onnx.helper.make_empty_tensor_value_info("t_dequantized"))
    assert fold_zero_points(plain) == plain


@pytest.mark.parametrize(("taken", "expected"), [("a", set()), ("t", set()), ("b", {"t"})])
def test_what_a_subgraph_takes_keeps_its_values(tmp_path: Path, taken: str, expected: set[str]) -> None:
    def build(g: Net) -> None:
        g.conv(g.add("Relu", g.conv("x", "a"), to="t"), "b")
        one = g.value("only_inside", 1)
        inner = [
            helper.make_graph(
                [helper.make_node(op, [taken, one], ["o"])],
                op,
                [],
                [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)],
            )
            for op in ("Add", "Mul")
        ]
        g.constants["yes"] = numpy_helper.from_array(np.array(True), "yes")
        g.add("Add", "b", g.add("If", "yes", to="s", then_branch=inner[0], else_branch=inner[1]), to="y")

    plain, ranges = quantized(build, tmp_path)
    folded = fold_zero_points(plain)
    assert {name for name, (own, _) in shifted(folded).items() if own.endswith("_dequantized")} == expected
    wanted = run(unsigned(plain, {name: ranges[name].amax for name in expected}))
    assert np.linalg.norm(run(folded) - wanted) < 1e-4 * np.linalg.norm(wanted)


def test_names_that_the_model_has_already_are_not_given_again(tmp_path: Path) -> None:
    def build(g: Net) -> None:
        g.add("Relu", g.conv("x", "a"), to="t")
        g.padded(
            g.add("Relu", g.conv("t", "b"), to="t_from_zero"), "c"
        )  # "t" may not take this name, and keeps its own
        u = g.add("Relu", g.conv("c", "d"), to="u")
        g.add("Add", g.conv(u, "e"), g.constant("d_bias_from_zero", C, 1, 1), to="y")

    plain, ranges = quantized(build, tmp_path)
    folded = fold_zero_points(plain)
    assert {name for name, (own, _) in shifted(folded).items() if own.endswith("_dequantized")} == {"u"}
    assert sqnr(run(unsigned(plain, {"u": ranges["u"].amax})), run(folded)) > 80
    known = {name for node in open_model(tmp_path / "m.onnx").load().graph.node for name in node.output} | {"x"}
    imported = read_qdq(folded, "it", tmp_path, known)
    for tensor in ("t", "t_from_zero", "u"):
        assert imported.ranges[tensor].amax == pytest.approx(ranges[tensor].amax, rel=1e-6)


def test_the_models_own_values_and_ranges_come_back(tmp_path: Path) -> None:
    plain, ranges = quantized(a_residual_block, tmp_path)
    for name, model in (("plain", plain), ("folded", fold_zero_points(plain))):
        onnx.save(model, tmp_path / f"{name}.onnx")
    exact = values_of(open_model(tmp_path / "m.onnx").load())
    tensors = ["a", "t", "b", "u", "c", "v", "d", "sum", "w", "y"]
    for name in ("plain", "folded"):
        found = OnnxOutputs.of_quantized(tmp_path / f"{name}.onnx", tensors).infer({"x": X})
        assert {*tensors} - {*found} <= {"a", "b", "c"}  # inside a kernel
        for tensor, values in found.items():
            assert sqnr(exact[tensor], values) > 15, (name, tensor)
    known = {name for node in open_model(tmp_path / "m.onnx").load().graph.node for name in node.output} | {"x"}
    imported = read_qdq(fold_zero_points(plain), "it", tmp_path, known)
    assert set(imported.ranges) == set(read_qdq(plain, "it", tmp_path, known).ranges)
    for tensor, found_range in imported.ranges.items():
        assert found_range.amax == pytest.approx(ranges[tensor].amax, rel=1e-6)
    assert imported.ranges["t"].low == 0


HOSTILE = [f'{{"t": ["u", {offset}]}}' for offset in ("1" + "0" * 400, "1e999", "NaN", "-Infinity")]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", '{"t": 1}', '{"t": ["u", "v"]}', '{"t": null}', pytest.param("[" * 100_000, id="deep"), *HOSTILE],
)
def test_metadata_of_another_program_is_passed_over(tmp_path: Path, text: str) -> None:
    plain, _ = quantized(behind_one, tmp_path)
    helper.set_model_props(plain, {SHIFTED: text})
    assert shifted(plain) == {}
