"""What holds for every method, and for what a third party's returns."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantkit.calibrators import calibrators, solve
from quantkit.core.errors import BadInput
from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.histogram import Histogram
from tests.calibrators.builders import (
    DISTRIBUTIONS,
    ONE_SIDED,
    SKEWED,
    affine_error,
    histogram_of,
    symmetric_error,
)

METHODS = list(calibrators())  # of the table in solve.py; each keeps the promises below


@st.composite
def tensors(draw: st.DrawFn) -> np.ndarray:
    """A few values, or many of a shape, a shift and a share of zeros drawn at random; never all zero."""
    if draw(st.booleans()):
        numbers = st.floats(-1e4, 1e4, width=32, allow_subnormal=False) | st.sampled_from([0.0, 1.0, -1.0, 4.0])
        values = np.array(draw(st.lists(numbers, min_size=1, max_size=30)), np.float32)
        values = np.repeat(values, draw(st.integers(1, 50)))
    else:
        rng = np.random.default_rng(draw(st.integers(0, 10**6)))
        shape = draw(st.sampled_from([rng.standard_normal, rng.standard_cauchy, rng.random]))
        values = shape(draw(st.integers(10, 5000))).astype(np.float32) + np.float32(draw(st.integers(-3, 3)))
        values *= rng.random(values.size) >= draw(st.sampled_from([0, 0.5, 0.99]))
    values[np.abs(values) < 1e-20] = 0
    return values if values.any() else np.append(values, np.float32(1))


@given(values=tensors())
@settings(max_examples=100, deadline=None)
def test_ranges_hold_zero_and_stay_within_what_was_seen(values: np.ndarray) -> None:
    histogram = histogram_of(values)
    ranges = solve(histogram, calibrators())
    assert list(ranges) == METHODS
    for name, found in ranges.items():
        assert min(histogram.minimum, 0) <= found.low <= 0 <= found.high <= max(histogram.maximum, 0), name
        half_a_bin = histogram.width * 0.500001 if name == "entropy" else 0
        assert 0 < found.amax <= histogram.largest + half_a_bin, name


@given(values=tensors(), power=st.integers(-20, 20))
@settings(max_examples=60, deadline=None)
def test_ranges_scale_with_the_values(values: np.ndarray, power: int) -> None:
    factor = 2.0**power
    ranges = solve(histogram_of(values), calibrators())
    for name, found in solve(histogram_of(values * np.float32(factor)), calibrators()).items():
        same = ranges[name]
        assert found == TensorRange(same.amax * factor, same.low * factor, same.high * factor), name


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_counts_beyond_31_bits_change_nothing(name: str) -> None:
    small = histogram_of(DISTRIBUTIONS[name])
    large = replace(small, negative=small.negative * 2**36, positive=small.positive * 2**36)
    assert large.absolute.max() > 2**40
    ranges = solve(small, calibrators())
    for method, found in solve(large, calibrators()).items():
        for end in ("amax", "low", "high"):
            assert getattr(found, end) == pytest.approx(getattr(ranges[method], end), rel=1e-9), method


@pytest.mark.parametrize("name", [*ONE_SIDED, *SKEWED])
@pytest.mark.parametrize("method", ["percentile", "entropy", "mse"])
def test_asymmetric_methods_lose_less_on_one_sided_and_skewed_tensors(name: str, method: str) -> None:
    values = DISTRIBUTIONS[name].astype(np.float32)
    ranges = solve(histogram_of(values), calibrators())
    asymmetric = affine_error(values, ranges[f"{method}-asymmetric"])
    assert asymmetric < symmetric_error(values, ranges[method])
    assert asymmetric <= affine_error(values, ranges[method]) * 1.02


def test_a_dead_tensor_gets_a_usable_scale() -> None:
    for found in solve(histogram_of(np.zeros(5)), calibrators()).values():
        assert np.float32(found.scale) > 0


@pytest.mark.parametrize("value", [0.5, -0.5, 1e-30, -3e38])
def test_one_value_is_enough(value: float) -> None:
    for found in solve(histogram_of(np.array([value])), calibrators()).values():
        assert found.amax == pytest.approx(abs(value), rel=0.01)
        assert found.low == pytest.approx(min(value, 0), rel=0.01)
        assert found.high == pytest.approx(max(value, 0), rel=0.01)


def test_all_methods_together_take_under_a_second_for_100_tensors() -> None:
    histograms = [histogram_of(values) for values in DISTRIBUTIONS.values()]
    methods = calibrators()
    spent = []
    for _ in range(5):
        start = time.process_time()
        for histogram in histograms:
            solve(histogram, methods)
        spent.append(time.process_time() - start)
    assert min(spent) / len(histograms) * 100 < 1


def test_minmax_is_exact() -> None:
    assert solve(histogram_of(np.array([0.1, -7.25])), calibrators())["minmax"] == TensorRange(
        7.25, -7.25, float(np.float32(0.1))
    )


@pytest.mark.parametrize("returned", [1.5, None, "wide", (0.0, 1.0)])
def test_a_calibrator_that_returns_no_range_is_named_with_the_mend(returned: object) -> None:
    with pytest.raises(BadInput, match=r"'odd' returned .* not a TensorRange.*TensorRange\.symmetric"):
        solve(histogram_of(np.array([1.0])), {"odd": lambda histogram: returned})


@pytest.mark.parametrize("amax", [0.0, -1.0, float("nan"), float("inf")])
def test_a_calibrator_that_fails_is_named(amax: float) -> None:
    def odd(histogram: Histogram) -> TensorRange:
        return TensorRange.symmetric(amax, histogram.minimum, histogram.maximum)

    with pytest.raises(BadInput, match=r"'odd' failed with ValueError: .*Fix it") as error:
        solve(histogram_of(np.array([1.0])), {"odd": odd})
    assert isinstance(error.value.__cause__, ValueError)


def test_ranges_are_plain_floats() -> None:
    narrow = TensorRange.asymmetric(np.float32(-1), np.float32(2))
    found = solve(histogram_of(np.array([1.0])), {"narrow": lambda histogram: narrow})["narrow"]
    assert [type(end) for end in (found.amax, found.low, found.high)] == [float] * 3
