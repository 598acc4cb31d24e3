from __future__ import annotations

import numpy as np
import pytest

from quantkit.calibrators import calibrators, solve
from quantkit.calibrators.mse import mse
from quantkit.calibrators.mse_asymmetric import mse_asymmetric
from quantkit.calibrators.numerics.golden_section import golden_section
from quantkit.calibrators.numerics.rounding_error import RoundingError
from quantkit.calibrators.numerics.signed import ZERO, signed_counts
from tests.calibrators.builders import DISTRIBUTIONS, affine_error, histogram_of, symmetric_error

WITHIN = 1.02  # 2 %: what is known is bins, not values


def direct_error(counts: np.ndarray, first: float, step: float, zero_point: float, points: int) -> float:
    """The squared rounding error, integrated over every bin by its antiderivative."""
    edges = first + np.arange(len(counts) + 1.0)
    low, high = -zero_point * step, (points - 1 - zero_point) * step
    inside = np.clip(edges, low, high)
    nearest = np.rint(inside / step)
    # A whole step contributes step³/12; beyond the ends the error is the distance to them.
    integral = nearest * step**3 / 12 + (inside - nearest * step) ** 3 / 3 + (edges - inside) ** 3 / 3
    return float(np.diff(integral) @ counts / counts.sum())


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_error_by_parts_equals_the_direct_integral(name: str) -> None:
    histogram = histogram_of(DISTRIBUTIONS[name])
    absolute, signed = histogram.absolute, signed_counts(histogram)
    for amax in (3.0, 40.0, 1000.3, 2048.0):
        step = amax / 127
        fast = RoundingError(absolute)(np.array([step]), np.array([0.0]), 128)
        assert fast[0] == pytest.approx(direct_error(absolute, 0, step, 0, 128), rel=1e-6)
    for low, high in ((0.0, 2048.0), (2048.0, 0.0), (300.5, 1900.0), (2048.0, 2048.0), (30.0, 4.0)):
        step = (low + high) / 255
        zero_point = np.rint(low / step)
        fast = RoundingError(signed, -ZERO)(np.array([step]), np.array([zero_point]), 256)
        assert fast[0] == pytest.approx(direct_error(signed, -ZERO, step, zero_point, 256), rel=1e-6)


@pytest.mark.parametrize(("least", "most"), [(0, 255), (0, 0), (255, 255), (100, 140)])
def test_all_zero_points_together_equal_each_by_itself(least: int, most: int) -> None:
    error = RoundingError(signed_counts(histogram_of(DISTRIBUTIONS["silu"])), -ZERO)
    steps = np.array([0.3, 4.0, 8.3])
    together = error.of_zero_points(steps, 256, least, most)
    assert together.shape == (3, most - least + 1)
    assert error.of_zero_points(8.3, 256, least, most) == pytest.approx(together[2])
    for i, zero_point in enumerate(range(least, most + 1)):
        assert error(steps, zero_point, 256) == pytest.approx(together[:, i], rel=1e-6)


def test_a_narrow_peak_with_a_far_outlier_keeps_its_digits() -> None:
    counts = np.zeros(2048, dtype=np.int64)
    counts[0], counts[-1] = 2**40, 1
    fast = RoundingError(counts)(np.array([2048 / 127]), np.array([0.0]), 128)
    assert fast[0] == pytest.approx(direct_error(counts, 0, 2048 / 127, 0, 128), rel=1e-6)


def test_golden_section_finds_the_minimum() -> None:
    point, value = golden_section(lambda x: (x - 0.3) ** 2 + 1, -2, 5, 1e-6)
    assert point == pytest.approx(0.3, abs=1e-6)
    assert value == pytest.approx(1)
    assert golden_section(lambda x: x, 2, 3, 1e-6)[0] == pytest.approx(2, abs=1e-6)  # at the end of the bracket


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_no_threshold_of_a_dense_grid_is_better(name: str) -> None:
    histogram = histogram_of(DISTRIBUTIONS[name])
    counts, width = histogram.absolute, histogram.width
    grid = np.linspace(0.02, 1, 800) * histogram.largest / width
    least = min(direct_error(counts, 0, amax / 127, 0, 128) for amax in grid)
    assert direct_error(counts, 0, mse(histogram).amax / width / 127, 0, 128) <= least * 1.002


@pytest.mark.parametrize("name", ["normal", "relu", "silu", "outlier", "negative"])
def test_no_pair_of_ends_of_a_dense_grid_is_better(name: str) -> None:
    histogram = histogram_of(DISTRIBUTIONS[name])
    counts, width = signed_counts(histogram), histogram.width

    def error(low: float, high: float) -> float:
        step = (high - low) / width / 255
        return direct_error(counts, -ZERO, step, np.rint(-low / width / step), 256)

    shares = np.linspace(0.1, 1, 37)
    lows, highs = (np.unique(shares * end) for end in (min(histogram.minimum, 0), max(histogram.maximum, 0)))
    least = min(error(low, high) for low in lows for high in highs)
    found = mse_asymmetric(histogram)
    assert error(found.low, found.high) <= least * 1.01


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_mse_loses_least_on_the_values_themselves(name: str) -> None:
    values = DISTRIBUTIONS[name].astype(np.float32)
    ranges = solve(histogram_of(values), calibrators())
    best = min(symmetric_error(values, found) for found in ranges.values())
    assert symmetric_error(values, ranges["mse"]) <= best * WITHIN
    best = min(affine_error(values, found) for found in ranges.values())
    assert affine_error(values, ranges["mse-asymmetric"]) <= best * WITHIN
    assert affine_error(values, ranges["mse-asymmetric"]) <= symmetric_error(values, ranges["mse"]) * WITHIN
