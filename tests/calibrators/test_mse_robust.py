from __future__ import annotations

import numpy as np
import pytest

from quantkit.calibrators import Collector, calibrators, solve
from quantkit.calibrators.collect import first_widths, note_maxima
from quantkit.core.statistics.histogram import Histogram

METHODS = calibrators()


def counted(images: list[np.ndarray]) -> Histogram:
    maxima: dict[str, float] = {}
    note_maxima(maxima, {"x": images[0]})
    collector = Collector(first_widths(maxima), len(images))
    for position, image in enumerate(images):
        collector.observe({"x": image}, position)
    return collector.collected().complete(len(images))["x"]


def images(largest: float) -> list[np.ndarray]:
    """A hundred alike, and one whose values are ``largest`` times as large."""
    rng = np.random.default_rng(0)
    usual = [np.abs(rng.standard_normal((1, 8, 10, 10))).astype(np.float32) for _ in range(100)]
    return [*usual, usual[0] * np.float32(largest)]


def test_one_strange_image_does_not_widen_the_range() -> None:
    with_it, without = counted(images(30)), counted(images(30)[:-1])
    plain = solve(with_it, METHODS)["mse"]
    robust = solve(with_it, METHODS)["mse-robust"]
    usual = solve(without, METHODS)["mse"]
    assert plain.amax > 5 * usual.amax
    assert robust.amax == pytest.approx(usual.amax, rel=0.15)
    assert robust.high == pytest.approx(usual.amax, rel=0.25)


def test_without_one_it_is_mse_for_either_scheme() -> None:
    found = counted(images(1.2))
    ranges = solve(found, METHODS)
    assert ranges["mse-robust"].amax == ranges["mse"].amax
    ends = ranges["mse-asymmetric"]
    assert (ranges["mse-robust"].low, ranges["mse-robust"].high) == (ends.low, ends.high)


def test_a_single_image_is_not_strange() -> None:
    found = counted(images(1)[:1])
    ranges = solve(found, METHODS)
    assert ranges["mse-robust"].amax == ranges["mse"].amax


def test_of_fewer_than_a_hundred_images_none_is_strange() -> None:
    """Leaving one out would cut more than one image in a hundred."""
    few = counted(images(30)[2:])
    ranges = solve(few, METHODS)
    assert few.samples == 99
    assert ranges["mse-robust"].amax == ranges["mse"].amax


@pytest.mark.parametrize("largest", [1e5, 1e16, 1e20, 1e30, 1e37])
@pytest.mark.parametrize("sign", [1, -1])
def test_however_far_a_single_value_lies_it_is_left_out(largest: float, sign: int) -> None:
    usual = images(1)[:100]
    broken = usual[0].copy()
    broken[0, 0, 0, 0] = sign * largest
    with_it, without = counted([*usual, broken]), counted(usual)
    wanted = solve(without, METHODS)["minmax"]
    found = solve(with_it, METHODS)["mse-robust"]
    assert found.amax == pytest.approx(wanted.amax, rel=0.3)
    assert found.high == pytest.approx(wanted.high, rel=0.3)
