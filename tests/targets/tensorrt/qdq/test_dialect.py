"""TensorRT's dialect: where pairs stand, and that the numbers are what the ranges say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.graph.model_file import open_model
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from tests.conftest import tiny_model
from tests.graphs.blocks import block
from tests.graphs.quantized import X, dequantized_inputs, initializer, quantized_block, ranges_of
from tests.graphs.small import calibrated, network, paired, quantized, weights


def test_tensorrt_places_pairs_by_its_rules(tiny: tuple) -> None:
    quantized = quantized_for_tensorrt(*tiny).proto
    assert dequantized_inputs(quantized, "conv1") == [True, True, False]  # rule 3: no pair on the bias
    assert dequantized_inputs(quantized, "conv2") == [True, True, False]
    assert dequantized_inputs(quantized, "add") == [False, True]  # rule 2: the skip input only
    assert dequantized_inputs(quantized, "pool") == [False]  # rule 4: what follows is not quantized
    assert dequantized_inputs(quantized, "fc") == [False, False, False]  # rule 7: 3 outputs
    outputs_quantized = {n.input[0] for n in quantized.graph.node if n.op_type == "QuantizeLinear"}
    assert outputs_quantized == {"input", "relu1"}  # rule 1: none on a Conv's output


def test_an_average_pool_between_quantized_layers_has_pairs_on_both_sides(tmp_path: Path) -> None:
    def conv(source: str, weight: str, output: str) -> onnx.NodeProto:
        return helper.make_node("Conv", [source, weight], [output], name=output)

    pool = helper.make_node("AveragePool", ["c0"], ["p"], name="p", kernel_shape=[2, 2])
    alone, _ = quantized_block(block(conv("input", "w0", "c0"), pool, conv("p", "w1", "out")), tmp_path)
    assert dequantized_inputs(alone, "p") == [True]
    assert dequantized_inputs(alone, "out") == [True, True]
    gate = helper.make_node("Sigmoid", ["c1"], ["s"], name="s")
    product = helper.make_node("Mul", ["c0", "s"], ["out"], name="out")
    squeeze = helper.make_node("GlobalAveragePool", ["c0"], ["p"], name="p")
    excite = [conv("input", "w0", "c0"), squeeze, conv("p", "w1", "c1"), gate, product]
    assert dequantized_inputs(quantized_block(block(*excite), tmp_path)[0], "p") == [False]  # c0 is wanted whole, too


@pytest.mark.parametrize("one_pixel", [True, False])
def test_squeeze_and_excitation_stays_in_floating_point(tmp_path: Path, one_pixel: bool) -> None:
    kind, attributes = ("GlobalAveragePool", {}) if one_pixel else ("AveragePool", {"kernel_shape": [2, 2]})
    nodes = [
        helper.make_node("Conv", ["input", "w0"], ["c0"], name="c0"),
        helper.make_node(kind, ["c0"], ["p"], name="p", **attributes),
        helper.make_node("Conv", ["p", "w1"], ["c1"], name="c1"),
        helper.make_node("Sigmoid", ["c1"], ["s"], name="s"),
        helper.make_node("Mul", ["c1", "s"], ["m"], name="m"),
        helper.make_node("Conv", ["m", "w2"], ["out"], name="out"),
    ]
    quantized, _ = quantized_block(block(*nodes), tmp_path)
    assert dequantized_inputs(quantized, "c0") == [True, True]
    for name in ("c1", "out"):
        assert dequantized_inputs(quantized, name) == [not one_pixel] * 2


def test_a_concat_that_ends_in_floating_point_shares_no_scale(tmp_path: Path) -> None:
    """Boxes up to 640 beside scores up to 1: on one scale every score would be 0."""
    conv = [helper.make_node("Conv", ["input", f"w{i}"], [f"c{i}"], name=f"c{i}") for i in (0, 1)]
    both = helper.make_node("Concat", ["c0", "c1"], ["out"], name="out", axis=1)
    quantized, _ = quantized_block(block(*conv, both), tmp_path)
    assert dequantized_inputs(quantized, "out") == [False, False]


def test_tensorrt_is_symmetric_per_channel_and_free_of_zero_scales(tmp_path: Path) -> None:
    proto = tiny_model()
    weight = next(t for t in proto.graph.initializer if t.name == "w2")
    values = numpy_helper.to_array(weight).copy()
    values[5] = 0  # a dead channel
    weight.CopyFrom(numpy_helper.from_array(values, "w2"))
    onnx.save(proto, tmp_path / "m.onnx")
    model = open_model(tmp_path / "m.onnx")
    ranges = ranges_of(model, {"input": X})
    quantized = quantized_for_tensorrt(model, ranges).proto
    scales = initializer(quantized, "w2_scale")
    assert scales.shape == (16,)
    assert scales.min() > 0
    assert scales[0] == pytest.approx(np.abs(values[0]).max() / 127, rel=1e-6)
    assert initializer(quantized, "relu1_scale") == pytest.approx(ranges["relu1"].amax / 127, rel=1e-6)
    for node in quantized.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert not initializer(quantized, node.input[2]).any()
            assert initializer(quantized, node.input[2]).dtype == np.int8
    assert "w2" not in {t.name for t in quantized.graph.initializer}  # the FP32 weight is gone from the file


def test_tensorrt_output_equals_the_simulation(tiny: tuple) -> None:
    """The first Conv's output, computed by hand from quantized input and weights."""
    model, ranges = tiny
    quantized = quantized_for_tensorrt(model, ranges).proto
    scale = np.float32(ranges["input"].amax / 127)
    x = np.clip(np.rint(X / scale), -128, 127).astype(np.float32) * scale
    w_scale = initializer(quantized, "w1_scale").reshape(-1, 1, 1, 1)
    w = initializer(quantized, "w1_quantized").astype(np.float32) * w_scale
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    bias = initializer(quantized, next(n for n in quantized.graph.node if n.name == "conv1").input[2])
    expected = np.einsum("nchwij,ocij->nohw", windows, w) + bias.reshape(1, -1, 1, 1)
    quantized.graph.output.append(helper.make_tensor_value_info("bn1", TensorProto.FLOAT, None))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    got = ort.InferenceSession(quantized.SerializeToString(), options).run(["bn1"], {"input": X})[0]
    assert np.allclose(got, expected, atol=1e-3)


def test_an_add_of_two_convs_keeps_one_fusion(tmp_path: Path) -> None:
    quantized, _ = quantized_block(
        block(
            helper.make_node("Conv", ["input", "w0"], ["main"], name="main"),
            helper.make_node("Conv", ["input", "w1"], ["shortcut"], name="shortcut"),
            helper.make_node("Add", ["main", "shortcut"], ["out"], name="add"),
        ),
        tmp_path,
    )
    assert dequantized_inputs(quantized, "add") == [False, True]


def test_a_concat_has_one_scale_on_all_inputs_and_its_output(tmp_path: Path) -> None:
    quantized, ranges = quantized_block(
        block(
            helper.make_node("Conv", ["input", "w0"], ["a"], name="a"),
            helper.make_node("Relu", ["input"], ["b"], name="b"),
            helper.make_node("Concat", ["a", "b"], ["cat"], name="cat", axis=2),
            helper.make_node("Conv", ["cat", "w1"], ["out"], name="last"),
        ),
        tmp_path,
    )
    assert dequantized_inputs(quantized, "cat") == [True, True]
    assert dequantized_inputs(quantized, "last") == [True, True]
    wanted = max(ranges[name].amax for name in ("a", "b", "cat")) / 127
    for name in ("a", "b", "cat"):
        assert initializer(quantized, f"{name}_scale") == pytest.approx(wanted, rel=1e-6)


def test_a_range_of_a_weight_is_nobodys(tmp_path: Path) -> None:
    model = block(helper.make_node("Conv", ["input", "w0"], ["out"], name="conv"))
    onnx.save(model, tmp_path / "block.onnx")
    ranges = {name: TensorRange.symmetric(4.0, -4.0, 4.0) for name in ("input", "w0")}
    quantized = quantized_for_tensorrt(open_model(tmp_path / "block.onnx"), ranges).proto
    onnx.checker.check_model(quantized, full_check=True)
    assert dequantized_inputs(quantized, "conv") == [True, True]
    assert initializer(quantized, "w0_scale").shape == (16,)


def test_max_pool_needs_no_pair(tmp_path: Path) -> None:
    quantized, _ = quantized_block(
        block(
            helper.make_node("MaxPool", ["input"], ["pooled"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("Conv", ["pooled", "w0"], ["out"], name="conv"),
        ),
        tmp_path,
    )
    assert dequantized_inputs(quantized, "pool") == [False]
    assert dequantized_inputs(quantized, "conv") == [True, True]


def test_conv_transpose_weights_have_their_own_axis(tmp_path: Path) -> None:
    quantized, _ = quantized_block(
        block(helper.make_node("ConvTranspose", ["input", "w0"], ["out"], name="up", kernel_shape=[1, 1])), tmp_path
    )
    node = next(n for n in quantized.graph.node if n.output[0] == "w0_dequantized")
    assert next(a.i for a in node.attribute if a.name == "axis") == 1


def test_an_excluded_node_keeps_its_float_weight_even_when_shared(tmp_path: Path) -> None:
    model = block(
        helper.make_node("Conv", ["input", "w0"], ["a"], name="ca"),
        helper.make_node("Relu", ["a"], ["ra"], name="ra"),
        helper.make_node("Conv", ["ra", "w0"], ["out"], name="cb"),
    )
    onnx.save(model, tmp_path / "block.onnx")
    file = open_model(tmp_path / "block.onnx")
    ranges = ranges_of(file, {"input": np.random.default_rng(1).standard_normal((1, 16, 8, 8)).astype(np.float32)})
    quantized = quantized_for_tensorrt(file, ranges, exclude=["cb"]).proto
    onnx.checker.check_model(quantized)
    assert dequantized_inputs(quantized, "ca") == [True, True]
    assert dequantized_inputs(quantized, "cb") == [False, False]


@pytest.mark.parametrize("groups", [1, 4])
def test_bias_correction_keeps_every_channels_mean(tmp_path: Path, groups: int) -> None:
    rng = np.random.default_rng(3)
    weight = numpy_helper.from_array(rng.standard_normal((8, 16 // groups, 1, 1)).astype(np.float32), "w")
    node = helper.make_node("Conv", ["input", "w", "b"], ["out"], name="out", group=groups)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 16, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 8, 8, 8])],
        [weight, numpy_helper.from_array(np.zeros(8, np.float32), "b")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
    model = open_model(tmp_path / "m.onnx")
    x = (rng.standard_normal((1, 16, 8, 8)) + 3).astype(np.float32)
    ranges = {"input": TensorRange.symmetric(float(np.abs(x).max()), float(x.min()), float(x.max()))}
    means = {"input": x.mean(axis=(0, 2, 3), dtype=np.float64)}

    def mean_errors(quantized: onnx.ModelProto) -> np.ndarray:
        dequantized = initializer(quantized, "w_quantized") * initializer(quantized, "w_scale").reshape(-1, 1, 1, 1)
        group = np.repeat(np.arange(groups), 8 // groups)
        inputs = means["input"].reshape(groups, -1)[group]
        products = ((dequantized - numpy_helper.to_array(weight))[:, :, 0, 0] * inputs).sum(axis=1)
        return products + initializer(quantized, "b")

    unit = 2.0**-40
    total = np.rint(means["input"] / unit).astype(np.int64)
    channels = ChannelStatistics(x.min(axis=(0, 2, 3)), x.max(axis=(0, 2, 3)), total, unit, 1)
    plain, corrected = (quantized_for_tensorrt(model, ranges, (), c).proto for c in (None, {"input": channels}))
    assert np.abs(mean_errors(plain)).max() > 1e-2
    assert np.abs(mean_errors(corrected)).max() < 1e-6


def test_a_folded_tensor_may_have_the_name_of_a_scale(tmp_path: Path) -> None:
    """Its declared shape, which is not a scale's, stays behind."""
    text = """(float[N,16,4,4] x) => (float[N,16,4,4] y) {
        m = Relu(x)  m_scale = Conv <kernel_shape = [1, 1]> (m, w)  y = BatchNormalization(m_scale, g, b, a, v)
    }"""
    constants = {"w": weights(16, 16, 1, 1), **{name: np.full(16, 0.5, np.float32) for name in "gbav"}}
    model = onnx.shape_inference.infer_shapes(network(text, constants))
    calibration = calibrated(
        model, {"x": np.random.default_rng(0).standard_normal((8, 16, 4, 4), np.float32)}, tmp_path
    )
    proto = quantized(calibration, "tensorrt").proto
    onnx.checker.check_model(proto, full_check=True)
    assert "m" in paired(proto)
