"""A simulation computes what the Q/DQ model does, and what the user's does, and everything between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from quantkit.core.errors import TargetRefuses
from quantkit.core.ranges import TensorRange
from quantkit.core.recipe import Recipe
from quantkit.pipeline.simulation.differences import Grid
from quantkit.pipeline.simulation.simulation import Simulation, Variant
from tests.graphs.small import db, outputs
from tests.pipeline.simulation.builders import MODELS, made

TARGETS = ("onnxruntime", "openvino", "tensorrt")


def same(found: dict[str, np.ndarray], expected: list[np.ndarray]) -> bool:
    return all(np.array_equal(own, other) for own, other in zip(found.values(), expected, strict=True))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", MODELS)
def test_nothing_rounded_is_the_users_model_and_everything_is_the_qdq_model_to_the_bit(
    tmp_path: Path, name: str, target: str
) -> None:
    own = made(name, target, tmp_path)
    simulation = own.simulation()
    floating = simulation.baseline(own.samples, quantized=False)
    quantized = simulation.baseline(own.samples, quantized=True)
    for exact, found in zip(outputs(own.model.path, own.samples, False), floating.outputs.values(), strict=True):
        assert db(exact, found) > 110
    assert same(quantized.outputs, outputs(own.quantized, own.samples, False))
    assert not same(quantized.outputs, list(floating.outputs.values()))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", MODELS)
def test_both_ways_from_one_end_to_the_other_meet(tmp_path: Path, name: str, target: str) -> None:
    """Quantizing some units of the floating-point model is leaving the others out of the quantized one."""
    own = made(name, target, tmp_path)
    simulation = own.simulation()
    floating = simulation.baseline(own.samples, quantized=False)
    quantized = simulation.baseline(own.samples, quantized=True)
    every = frozenset(range(len(simulation.units)))
    for some in (frozenset(), every, frozenset(n for n in every if n % 2), frozenset({0})):
        found = floating.variant(Variant(some))
        assert same(found, list(quantized.variant(Variant(every - some)).values()))


def test_only_one_layer_is_the_model_with_all_others_excluded(tmp_path: Path) -> None:
    """TensorRT's rules give a layer the pairs on its own inputs, so that leaving out the rest leaves just these."""
    own = made("renamed", "tensorrt", tmp_path)
    simulation = own.simulation()
    floating = simulation.baseline(own.samples, quantized=False)
    convs = [number for number, unit in enumerate(simulation.units) if unit.kind == "Conv"]
    assert len(convs) == 2
    for number in convs:
        others = tuple(unit.name for unit in simulation.units if unit != simulation.units[number])
        alone = replace(own, recipe=replace(own.recipe, exclude=others)).quantized
        found = floating.variant(Variant(frozenset({number})))
        assert same(found, outputs(alone, own.samples, False))
        assert not same(found, list(floating.outputs.values()))


def grid_of(own: TensorRange) -> Grid:
    return Grid.of(np.float32(own.scale), np.int8(0))


@pytest.mark.parametrize("tensor", ["input", "relu1"])
def test_another_grid_is_what_another_range_gives(tmp_path: Path, tensor: str) -> None:
    own = made("tiny", "tensorrt", tmp_path)
    range_ = own.recipe.ranges[tensor]
    half = TensorRange(range_.amax / 2, range_.low / 2, range_.high / 2)
    changed = replace(own.recipe, ranges={**own.recipe.ranges, tensor: half})
    simulation = own.simulation()
    assert simulation.grids[tensor] == grid_of(range_)
    quantized = simulation.baseline(own.samples, quantized=True)
    expected = outputs(replace(own, recipe=changed).quantized, own.samples, False)
    assert same(quantized.variant(Variant(grids={tensor: grid_of(half)})), expected)
    assert not same(quantized.outputs, expected)
    assert same(quantized.variant(Variant(grids={tensor: grid_of(range_)})), list(quantized.outputs.values()))


def test_a_grid_of_the_floating_point_model_rounds_that_tensor_alone(tmp_path: Path) -> None:
    own = made("tiny", "tensorrt", tmp_path)
    simulation = own.simulation()
    floating = simulation.baseline(own.samples, quantized=False)
    found = floating.variant(Variant(grids={"input": simulation.grids["input"]}))
    scale = np.float32(simulation.grids["input"].scale)
    by_hand = np.clip(np.rint(own.samples["input"] / scale), -128, 127) * scale
    expected = simulation.baseline({"input": by_hand.astype(np.float32)}, quantized=False)
    assert same(found, list(expected.outputs.values()))
    unrounded = floating.variant(Variant(grids={"input": None}))
    assert same(unrounded, list(floating.outputs.values()))


def test_rounding_where_a_tensor_is_computed_belongs_to_the_layer_that_computes_it(tmp_path: Path) -> None:
    """ONNX Runtime's dialect rounds the output a, which the user reads, too: that is the first Conv's loss."""
    own = made("ends", "onnxruntime", tmp_path)
    simulation = own.simulation()
    first = next(number for number, unit in enumerate(simulation.units) if unit.tensor == "a")
    found = simulation.baseline(own.samples, quantized=False).variant(Variant(frozenset({first})))
    grid = simulation.grids["a"]
    steps = found["a"] / np.float32(grid.scale)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    assert "unread" not in {unit.tensor for unit in simulation.units}


def test_units_have_names_of_the_users_model(tmp_path: Path) -> None:
    units = made("tiny", "tensorrt", tmp_path).simulation().units
    assert [(unit.kind, unit.tensor) for unit in units if unit.kind != "Gemm"][:3] == [
        ("Conv", "relu1"),
        ("Conv", "conv2"),
        ("Add", "relu2"),
    ]


def test_a_model_of_which_nothing_is_in_int8_is_refused(tmp_path: Path) -> None:
    own = made("tiny", "onnxruntime", tmp_path)
    with pytest.raises(TargetRefuses, match="Nothing of this model is in INT8"):
        own.simulation(replace(own.recipe, exclude=("*",)))


def test_a_qdq_model_of_another_model_is_refused(tmp_path: Path) -> None:
    own = made("tiny", "onnxruntime", tmp_path)
    (tmp_path / "other").mkdir()
    other = made("mobile", "onnxruntime", tmp_path / "other")
    with pytest.raises(TargetRefuses, match="has other nodes than the floating-point model"):
        Simulation(other.model.load(), own.quantized)


def test_changed_weights_are_simulated(tmp_path: Path) -> None:
    """A stage such as tuning may hand over other weights."""
    own = made("tiny", "tensorrt", tmp_path)
    weight = next(t for t in own.model.load().graph.initializer if t.name == "w2")
    changed = Recipe(
        own.recipe.calibration, own.recipe.ranges, weights={"w2": onnx.numpy_helper.to_array(weight) * 0.5}
    )
    found = own.simulation(changed).baseline(own.samples, quantized=False)
    assert not same(found.outputs, list(own.simulation().baseline(own.samples, quantized=False).outputs.values()))
