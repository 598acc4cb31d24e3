"""Pairs of TensorRT that others call for: sums in a chain, and one scale on both sides of what only moves values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.ranges import TensorRange
from quantkit.graph.model_file import open_model
from quantkit.targets.tensorrt.lint import lint
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from tests.graphs.blocks import block, conv, sigmoid
from tests.graphs.quantized import dequantized_inputs, initializer, quantized_block, sqnr

DOUBLED = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "factors")
MOVES = {
    "MaxPool": helper.make_node("MaxPool", ["a"], ["moved"], name="move", kernel_shape=[2, 2], strides=[1, 1]),
    "nearest": helper.make_node("Resize", ["a", "", "factors"], ["moved"], name="move", mode="nearest"),
    "linear": helper.make_node("Resize", ["a", "", "factors"], ["moved"], name="move", mode="linear"),
    "cropping": helper.make_node(
        "Resize",
        ["a", "box", "factors"],
        ["moved"],
        name="move",
        mode="nearest",
        coordinate_transformation_mode="tf_crop_and_resize",
    ),
}


def residual(source: str, number: int) -> list[onnx.NodeProto]:
    """A block whose activation keeps its Conv and its sum apart; what it gives is ``sum<number>``."""
    parts = [conv(source, "w0", f"c{number}"), sigmoid(f"c{number}", f"s{number}")]
    return [*parts, helper.make_node("Add", [source, f"s{number}"], [f"sum{number}"], name=f"sum{number}")]


@pytest.mark.parametrize("end", ["Conv", "Sigmoid"])
def test_a_chain_of_sums_is_quantized_where_its_end_is_taken_through_pairs(tmp_path: Path, end: str) -> None:
    last = conv("sum2", "w1", "out") if end == "Conv" else sigmoid("sum2", "out")
    model = block(sigmoid("input", "a"), *residual("a", 0), *residual("sum0", 1), *residual("sum1", 2), last)
    placed, _ = quantized_block(model, tmp_path)
    for name in ("sum0", "sum1", "sum2"):
        assert dequantized_inputs(placed, name) == [end == "Conv"] * 2
    x = np.random.default_rng(1).standard_normal((1, 16, 8, 8)).astype(np.float32)
    exact, rounded = (ort.InferenceSession(m.SerializeToString()).run(None, {"input": x})[0] for m in (model, placed))
    assert sqnr(exact, rounded) > 30


@pytest.mark.parametrize("kind", list(MOVES))
def test_both_sides_of_what_moves_values_share_a_scale_where_both_have_a_pair(tmp_path: Path, kind: str) -> None:
    model = block(
        sigmoid("input", "a"),
        conv("a", "w0", "other"),
        MOVES[kind],
        conv("moved", "w1", "out"),
    )
    box = numpy_helper.from_array(np.array([0, 0, 0, 0, 1, 1, 0.5, 0.5], np.float32), "box")
    model.graph.initializer.extend([DOUBLED, box])
    placed, ranges = quantized_block(model, tmp_path)
    shared = kind in ("MaxPool", "nearest")
    assert not dequantized_inputs(placed, "move")[0]
    assert dequantized_inputs(placed, "out")[0]
    wanted = max(ranges[name].amax for name in ("a", "moved")) if shared else ranges["a"].amax
    assert initializer(placed, "a_scale") == pytest.approx(wanted / 127, rel=1e-6)


def shortcut(added: float = 0.0, head: str = "Conv", shown: bool = False) -> onnx.ModelProto:
    """The start of a ResNet's stage: a Conv and a shortcut of every second pixel and eight channels of a constant."""
    model = block(
        sigmoid("input", "a"),
        conv("a", "w0", "b") if head == "Conv" else sigmoid("a", "b"),
        helper.make_node("MaxPool", ["b"], ["p"], name="p", kernel_shape=[1, 1], strides=[2, 2]),
        helper.make_node("Conv", ["p", "wide"], ["c"], name="c"),
        helper.make_node("Slice", ["a", "at", "end", "axes", "step"], ["parts"], name="parts"),
        helper.make_node("Pad", ["parts", "widths", "value"], ["padded"], name="padded"),
        helper.make_node("Add", ["c", "padded"], ["sum"], name="sum"),
        helper.make_node("Relu", ["sum"], ["out"], name="out"),
    )
    given = {
        "wide": np.random.default_rng(2).standard_normal((24, 16, 1, 1)).astype(np.float32),
        "at": np.array([0, 0]),
        "end": np.array([8, 8]),
        "axes": np.array([2, 3]),
        "step": np.array([2, 2]),
        "widths": np.array([0, 4, 0, 0, 0, 4, 0, 0]),
        "value": np.array(added, np.float32),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in given.items())
    if shown:
        model.graph.output.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, ["n", "c", "h", "w"]))
    return model


def test_a_shortcut_of_parts_and_zeros_begins_with_the_pair_of_the_other_path(tmp_path: Path) -> None:
    placed, ranges = quantized_block(shortcut(), tmp_path)
    assert [dequantized_inputs(placed, name)[0] for name in ("b", "parts", "padded")] == [True, True, False]
    assert dequantized_inputs(placed, "sum") == [False, True]
    wanted = max(ranges["a"].amax, ranges["padded"].amax) / 127
    assert initializer(placed, "a_scale") == pytest.approx(wanted, rel=1e-6)
    assert initializer(placed, "padded_scale") == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(shortcut(added=0.3), id="adds another value"),
        pytest.param(shortcut(head="Sigmoid"), id="the other path is in floating point"),
        pytest.param(shortcut(shown=True), id="the model outputs where it begins"),
    ],
)
def test_another_shortcut_begins_in_floating_point(tmp_path: Path, model: onnx.ModelProto) -> None:
    placed, _ = quantized_block(model, tmp_path)
    assert not dequantized_inputs(placed, "parts")[0]
    assert dequantized_inputs(placed, "sum") == [False, True]


def test_a_much_smaller_part_keeps_its_own_scale(tmp_path: Path) -> None:
    onnx.save(shortcut(), tmp_path / "model.onnx")
    highest = {
        "input": 3.0,
        "a": 1.0,
        "b": 2.0,
        "p": 2.0,
        "c": 5.0,
        "parts": 0.4,
        "padded": 0.4,
        "sum": 5.0,
        "out": 5.0,
    }
    ranges = {name: TensorRange.symmetric(amax, 0.0, amax) for name, amax in highest.items()}
    placed = quantized_for_tensorrt(open_model(tmp_path / "model.onnx"), ranges).proto
    assert not dequantized_inputs(placed, "parts")[0]
    assert initializer(placed, "padded_scale") == pytest.approx(0.4 / 127, rel=1e-6)


def test_what_moves_values_needs_no_pair_where_nothing_else_takes_them(tmp_path: Path) -> None:
    model = block(sigmoid("input", "a"), MOVES["nearest"], conv("moved", "w1", "out"))
    model.graph.initializer.append(DOUBLED)
    placed, _ = quantized_block(model, tmp_path)
    assert not dequantized_inputs(placed, "move")[0]
    assert dequantized_inputs(placed, "out")[0]


def test_pairs_that_move_to_one_tensor_share_a_scale(tmp_path: Path) -> None:
    """Behind two layers, and in a row of them, where nothing takes what is between; but not over an excluded one."""
    model = block(
        sigmoid("input", "a"),
        MOVES["MaxPool"],
        helper.make_node("Resize", ["a", "", "factors"], ["large"], name="large", mode="nearest"),
        helper.make_node("Identity", ["large"], ["same"], name="same"),
        conv("moved", "w0", "one"),
        conv("same", "w1", "out"),
    )
    model.graph.initializer.append(DOUBLED)
    onnx.save(model, tmp_path / "model.onnx")
    highest = {"input": 3.0, "a": 1.0, "moved": 0.9, "large": 1.0, "same": 0.8}
    ranges = {name: TensorRange.symmetric(amax, 0.0, amax) for name, amax in highest.items()}
    for exclude, moved, same in ((), 0.9, 0.9), (("large",), 0.9, 0.8), (("move",), 0.9, 0.8):
        placed = quantized_for_tensorrt(open_model(tmp_path / "model.onnx"), ranges, exclude).proto
        assert initializer(placed, "moved_scale") == pytest.approx(moved / 127, rel=1e-6)
        assert initializer(placed, "same_scale") == pytest.approx(same / 127, rel=1e-6)
        assert ("quantized-twice" in {finding.rule for finding in lint(placed)}) == bool(exclude)
