"""Second moments are exact to merge, and those of the rows they were taken from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from quantkit.calibrators import moments as collecting
from quantkit.calibrators.moments import MomentsCollector, widest
from quantkit.core.statistics.clamp import Clamp
from quantkit.graph.layer_rows import LayerRows

TOKENS = LayerRows("x", width=12)
DEPTHWISE = LayerRows("x", (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), groups=6, width=9)


def samples(count: int, *shape: int) -> list[npt.NDArray[np.float32]]:
    numbers = np.random.default_rng(3)
    mixing = numbers.normal(size=(shape[-1], shape[-1]))
    return [(numbers.normal(size=shape) @ mixing + 0.5).astype(np.float32) for _ in range(count)]


def collected(
    layer: LayerRows, arrays: list[npt.NDArray[np.float32]], positions: list[int], of: int
) -> dict[str, object]:
    collector = MomentsCollector([layer], {"x": 8.0}, of)
    for position in positions:
        collector.observe({"x": arrays[position]}, position)
    return collector.collected()


@pytest.mark.parametrize(("layer", "shape"), [(TOKENS, (1, 50, 12)), (DEPTHWISE, (1, 6, 10, 11))])
def test_any_division_of_the_samples_merges_to_the_same_bits(layer: LayerRows, shape: tuple[int, ...]) -> None:
    arrays = samples(40, *shape)
    whole = collected(layer, arrays, list(range(40)), 40)[layer.key]
    for cut in (1, 17, 39):
        parts = [collected(layer, arrays, list(own), 40)[layer.key] for own in (range(cut, 40), range(cut))]
        assert parts[0].merged(parts[1]) == whole


def test_the_covariance_is_that_of_the_rows() -> None:
    arrays = samples(60, 1, 64, 12)
    found = collected(TOKENS, arrays, list(range(60)), 60)[TOKENS.key]
    rows = np.concatenate([array.reshape(-1, 12) for array in arrays])
    exact = np.cov(rows.T, bias=True)
    assert found.rows > 2000
    error = np.abs(found.covariance[0] - exact).max() / np.abs(exact).max()
    assert error < 0.08  # a sixth of the rows


def test_a_clamp_is_taken_from_its_source() -> None:
    arrays = samples(8, 1, 50, 12)
    direct, derived = (MomentsCollector([replace(TOKENS, tensor=name)], {name: 2.0}, 8, clamps)
                       for name, clamps in (("x", ()), ("y", [Clamp("y", "x", 0.0, 1.5)])))  # fmt: skip
    for position, array in enumerate(arrays):
        direct.observe({"x": array.clip(0, 1.5)}, position)
        derived.observe({"x": array}, position)
    assert next(iter(direct.collected().values())) == next(iter(derived.collected().values()))


def test_memory_is_bounded_by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = LayerRows("x", (3, 3), (1, 1), (0, 0, 0, 0), (1, 1), width=9 * 512)
    assert widest([wide]) == collecting.WIDEST
    # 64 parts of 8 channels, 72 values each: products in float64, and 256 rows that wait in int16
    monkeypatch.setattr(collecting, "MEMORY", 64 * 72 * (72 * 8 + 256 * 2))
    assert widest([wide]) == 64
    monkeypatch.setattr(collecting, "MEMORY", 1000)
    assert widest([wide]) == 0
    assert not MomentsCollector([wide], {"x": 1.0}, 1).collected()


def test_what_is_not_finite_is_left_out_and_large_values_are_cut_off() -> None:
    collector = MomentsCollector([TOKENS], {"x": 1.0}, 1)
    collector.observe({"x": np.full((1, 4, 12), -np.inf, np.float32)}, 0)
    assert not collector.collected()
    collector.observe({"x": np.full((1, 4, 12), 100.0, np.float32)}, 0)
    found = collector.collected()[TOKENS.key]
    assert found.sums.max() == found.rows * 255
