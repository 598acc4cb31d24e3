"""Pairs on both sides of a layer: one scale where TensorRT may move a pair over it, and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from quantkit.targets.tensorrt.lint import lint
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from tests.graphs.moves import OTHERS, PARTS, RESIZE, WHOLE, model_of, moved_integers, ranges_for, weight_behind
from tests.graphs.quantized import dequantized_inputs, initializer, session_of

X = np.random.default_rng(1).uniform(-3, 3, (1, 16, 8, 8)).astype(np.float32)


def between_pairs(kind: str, body: str, tmp_path: Path) -> onnx.ModelProto:
    """``a`` has a pair for one Conv, and ``moved``, whose calibrated range is smaller, one for another."""
    text = f"a = Tanh (input)  {body}  other = Conv (a, w)  out = Conv (moved, {weight_behind(kind)})"
    model = model_of(text, tmp_path, "other", "out")
    return quantized_for_tensorrt(model, ranges_for(model, moved=0.5)).proto


@pytest.mark.parametrize("kind", WHOLE)
def test_the_int8_output_of_a_layer_that_moves_values_equals_the_simulation(kind: str, tmp_path: Path) -> None:
    """A pair of another scale behind it would round a second time, and INT8 could not do both at once."""
    placed = between_pairs(kind, WHOLE[kind], tmp_path)
    assert initializer(placed, "a_scale") == initializer(placed, "moved_scale") == np.float32(1 / 127)
    assert "quantized-twice" not in {finding.rule for finding in lint(placed)}
    placed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ("a_quantized", "moved_quantized"))
    a, moved = session_of(placed).run(["a_quantized", "moved_quantized"], {"input": X})
    assert np.abs(a.astype(int)).max() > 64 + 1  # beyond the smaller range
    np.testing.assert_array_equal(moved, moved_integers(WHOLE[kind], a))


@pytest.mark.parametrize("kind", [*PARTS, *OTHERS])
def test_a_part_of_a_tensor_and_another_value_keep_their_own_scale(kind: str, tmp_path: Path) -> None:
    placed = between_pairs(kind, (PARTS | OTHERS)[kind], tmp_path)
    assert initializer(placed, "a_scale") == np.float32(1 / 127)
    assert initializer(placed, "moved_scale") == np.float32(0.5 / 127)
    twice = kind == "Cast"  # which the linter looks through: the same values twice
    assert ("quantized-twice" in {finding.rule for finding in lint(placed)}) == twice


@pytest.mark.parametrize("kind", [*WHOLE, *PARTS, *OTHERS])
@pytest.mark.parametrize("op", ["AveragePool <kernel_shape = [1, 1]>", "Concat <axis = 2>"])
def test_a_layer_is_quantized_if_a_quantized_layer_consumes_its_output_moved(
    op: str, kind: str, tmp_path: Path
) -> None:
    inputs = "(b, b)" if "Concat" in op else "(b)"
    body = (WHOLE | PARTS | OTHERS)[kind]
    text = f"b = Conv (input, w)  a = {op} {inputs}  {body}  out = Conv (moved, {weight_behind(kind)})"
    model = model_of(text, tmp_path)
    placed = quantized_for_tensorrt(model, ranges_for(model)).proto
    assert dequantized_inputs(placed, "a")[0] == (kind in WHOLE)


def test_a_concat_before_a_resize_stays_as_it_was(tmp_path: Path) -> None:
    """As in the neck of a detector: a Resize alone brings no pairs to what is before it."""
    model = model_of(f"b = Conv (input, w)  a = Concat <axis = 2> (b, b)  {RESIZE}  out = Conv (moved, w)", tmp_path)
    placed = quantized_for_tensorrt(model, ranges_for(model)).proto
    assert dequantized_inputs(placed, "a") == [False, False]
    assert dequantized_inputs(placed, "out") == [True, True]


def test_the_consumers_inside_a_subgraph_count_as_floating_point(tmp_path: Path) -> None:
    """Beside a quantized Conv, a branch of an If reads the sum as it is."""
    branch = "{ z = Identity (sum) }"
    text = f"""a = Sigmoid (input)  b = Tanh (input)  sum = Add (a, b)  out = Conv (sum, w)
        chosen = If (training) <then_branch = t () => (float[n, c, h, w] z) {branch},
                                else_branch = e () => (float[n, c, h, w] z) {branch}>"""
    model = model_of(text, tmp_path, "out", "chosen")
    placed = quantized_for_tensorrt(model, ranges_for(model)).proto
    assert dequantized_inputs(placed, "sum") == [False, False]
    assert dequantized_inputs(placed, "out") == [True, True]
