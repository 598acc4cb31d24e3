from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quantkit.calibrators.minmax import minmax
from quantkit.calibrators.moving_average import moving_average
from quantkit.core.statistics.histogram import Histogram
from quantkit.core.statistics.moving import MovingExtremes, weight_of
from tests.calibrators.builders import histogram_of


def of_images(images: list[np.ndarray]) -> Histogram:
    moving = MovingExtremes()
    for position, image in enumerate(images):
        moving += MovingExtremes.of(float(image.min()), float(image.max()), weight_of(position, len(images)))
    return replace(histogram_of(np.concatenate(images)), moving=moving)


def test_it_is_the_average_updated_image_by_image() -> None:
    rng = np.random.default_rng(5)
    images = [rng.standard_normal(100).astype(np.float32) * scale for scale in rng.uniform(1, 3, 40)]
    low, high = float(images[0].min()), float(images[0].max())
    for image in images[1:]:
        low += 0.01 * (float(image.min()) - low)
        high += 0.01 * (float(image.max()) - high)
    found = moving_average(of_images(images))
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high)
    assert found.amax == max(-found.low, found.high)


def test_one_odd_image_hardly_moves_it() -> None:
    images = [np.array([-1.0, 2.0])] * 30 + [np.array([-1.0, 200.0])]
    assert moving_average(of_images(images)).high < 5


def test_averages_on_one_side_of_zero_leave_zero_in_the_range() -> None:
    found = moving_average(of_images([np.array([1.0, 2.0]), np.array([1.5, 3.0])]))
    assert found.low == 0
    assert 2 < found.high < 3
    mirrored = moving_average(of_images([np.array([-1.0, -2.0]), np.array([-1.5, -3.0])]))
    assert (mirrored.low, mirrored.high) == (-found.high, 0)


def test_without_averages_it_is_min_max() -> None:
    histogram = histogram_of(np.array([-1.0, 4.0]))
    assert moving_average(histogram) == minmax(histogram)


@pytest.mark.parametrize("later", [5000, 60_000])
def test_a_tensor_that_died_early_keeps_what_was_seen(later: int) -> None:
    alive = MovingExtremes.of(-1.0, 4.0, weight_of(0, later))
    histogram = replace(histogram_of(np.array([-1.0, 4.0])), moving=alive + MovingExtremes(weight=2**200))
    assert moving_average(histogram) == minmax(histogram)
