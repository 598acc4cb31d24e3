from __future__ import annotations

import math

import numpy as np
import pytest

from quantkit.calibrators import Collector, calibrators, solve
from quantkit.calibrators.entropy import EPSILON, LEVELS, divergences, entropy
from quantkit.calibrators.minmax import minmax
from quantkit.calibrators.mse import expected_errors, mse
from quantkit.calibrators.percentile import percentile
from quantkit.core.errors import BadInput
from quantkit.core.histogram import BINS, Histogram


def histogram_of(values: np.ndarray) -> Histogram:
    values = values.astype(np.float32)
    collector = Collector()
    collector.prime({"x": values})
    collector.observe({"x": values})
    return collector.histograms()["x"]


RNG = np.random.default_rng(0)
DISTRIBUTIONS = {
    "normal": RNG.standard_normal(20_000),
    "relu": np.maximum(RNG.standard_normal(20_000), 0),
    "laplace": RNG.laplace(size=20_000),
    "outlier": np.append(RNG.standard_normal(20_000), 60.0),
    "uniform": RNG.uniform(0, 6, 20_000),
}


def divergence_by_the_book(counts: np.ndarray, i: int) -> float:
    """KL(P‖Q) for one threshold, written out bin by bin from TensorRT's description."""
    bins = counts.astype(float)
    bins[0] = bins[1]
    p = bins[:i].copy()
    p[-1] += bins[i:].sum()
    q = np.zeros(i)
    for level in range(LEVELS):
        members = [k for k in range(i) if k * LEVELS // i == level]
        filled = [k for k in members if bins[k] > 0]
        for k in filled:
            q[k] = sum(bins[m] for m in members) / len(filled)
    p, q = p / p.sum(), q / q.sum()
    return float(sum(p[k] * math.log(p[k] / max(q[k], EPSILON)) for k in range(i) if p[k] > 0))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_entropy_equals_the_rule_written_out(name: str) -> None:
    counts = histogram_of(DISTRIBUTIONS[name]).absolute
    fast = divergences(counts)
    for i in (128, 129, 500, 1024, 1999, 2048):
        assert fast[i - LEVELS] == pytest.approx(divergence_by_the_book(counts, i), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_entropy_diverges_no_more_than_minmax(name: str) -> None:
    histogram = histogram_of(DISTRIBUTIONS[name])
    fast = divergences(histogram.absolute)
    chosen = round(entropy(histogram) / histogram.width - 0.5)
    assert fast[chosen - LEVELS] <= fast[BINS - LEVELS]


def test_entropy_clips_a_lone_outlier() -> None:
    assert entropy(histogram_of(DISTRIBUTIONS["outlier"])) < 30


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_mse_loses_no_more_than_the_others_on_the_values_themselves(name: str) -> None:
    values = DISTRIBUTIONS[name].astype(np.float32)
    histogram = histogram_of(values)

    def error(amax: float) -> float:
        scale = amax / 127
        return float(np.mean((np.clip(np.rint(values / scale), -127, 127) * scale - values) ** 2))

    others = [minmax(histogram), percentile(histogram), entropy(histogram)]
    assert error(mse(histogram)) <= min(map(error, others)) * 1.02  # 2 %: what is known is bins, not values


def test_expected_errors_integrate_rounding_and_clipping() -> None:
    counts = np.ones(BINS, dtype=np.int64)
    amax = np.array([2048.0, 1024.0])
    step = amax / 127
    clipped = np.array([0.0, 1024.0**3 / 3 / BINS])
    inside = np.array([1.0, 0.5])
    assert expected_errors(counts, amax) == pytest.approx(inside * step**2 / 12 + clipped, rel=0.01)


def test_percentile_meets_numpys() -> None:
    values = np.abs(DISTRIBUTIONS["normal"])
    histogram = histogram_of(values)
    for percent in (50, 90, 99, 99.9):
        assert percentile(histogram, percent) == pytest.approx(np.percentile(values, percent), abs=2 * histogram.width)
    assert percentile(histogram, 100) == minmax(histogram)
    with pytest.raises(ValueError, match="percent"):
        percentile(histogram, 0)


def test_minmax_is_exact() -> None:
    assert minmax(histogram_of(np.array([0.1, -7.25]))) == 7.25


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_ranges_stay_within_what_was_seen(name: str) -> None:
    histogram = histogram_of(DISTRIBUTIONS[name])
    for found in solve(histogram, calibrators()).values():
        assert min(histogram.minimum, 0) <= found.low <= 0 <= found.high <= max(histogram.maximum, 0)
        assert 0 < found.amax <= histogram.largest + histogram.width


def test_a_dead_tensor_gets_a_usable_scale() -> None:
    for found in solve(histogram_of(np.zeros(5)), calibrators()).values():
        assert found.scale > 0
        assert np.float32(found.scale) > 0


def test_a_negative_only_tensor_has_zero_in_its_range() -> None:
    found = solve(histogram_of(-np.abs(DISTRIBUTIONS["normal"]) - 1), calibrators())["minmax"]
    assert found.high == 0 > found.low


def test_one_value_is_enough() -> None:
    for found in solve(histogram_of(np.array([0.5])), calibrators()).values():
        assert found.amax == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("amax", [0.0, -1.0, math.nan, math.inf, None])
def test_a_calibrator_that_returns_nonsense_is_refused(amax: float) -> None:
    with pytest.raises(BadInput, match="'odd'"):
        solve(histogram_of(np.array([1.0])), {"odd": lambda histogram: amax})
