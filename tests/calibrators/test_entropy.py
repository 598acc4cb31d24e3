from __future__ import annotations

import math

import numpy as np
import pytest

from quantkit.calibrators.entropy import entropy
from quantkit.calibrators.entropy_asymmetric import entropy_asymmetric
from quantkit.calibrators.minmax import minmax
from quantkit.calibrators.numerics.divergence import EPSILON, best_window, divergences, first_least
from quantkit.calibrators.numerics.signed import ZERO, signed_counts
from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.histogram import BINS, Histogram
from tests.calibrators.builders import DISTRIBUTIONS, NORMAL, RNG, histogram_of


def bin_0_counts_as_bin_1(counts: np.ndarray) -> np.ndarray:
    counts = counts.copy()
    counts[0] = counts[1]
    return counts


def divergence_by_the_book(counts: np.ndarray, i: int, levels: int, before: int = 0) -> float:
    """KL(P‖Q) for one threshold, written out bin by bin from TensorRT's description."""
    bins = counts.astype(float)
    p = bins[:i].copy()
    p[0] += before
    p[-1] += bins[i:].sum()
    q = np.zeros(i)
    for level in range(levels):
        near = range(level * i // levels, min((level + 1) * i // levels + 1, i))
        members = [k for k in near if k * levels // i == level]
        filled = [k for k in members if bins[k] > 0]
        for k in filled:
            q[k] = sum(bins[m] for m in members) / len(filled)
    p, q = p / p.sum(), q / q.sum()
    return float(sum(p[k] * math.log(p[k] / max(q[k], EPSILON)) for k in range(i) if p[k] > 0))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_divergences_equal_the_rule_written_out(name: str) -> None:
    histogram = histogram_of(DISTRIBUTIONS[name])
    counts = bin_0_counts_as_bin_1(histogram.absolute)
    fast = divergences(counts, 128, 128)
    for i in (128, 129, 500, 1024, 1999, 2048):
        assert fast[i - 128] == pytest.approx(divergence_by_the_book(counts, i, 128), rel=1e-9, abs=1e-9)

    if name in ("relu", "negative"):
        return  # an empty half has no window to judge
    signed = signed_counts(histogram)[700:3000]
    for before in (0, 1000):
        fast = divergences(signed, 256, 1400, before)
        assert fast.shape == (901,)
        for i in (1400, 1407, 2048, 2300):
            book = divergence_by_the_book(signed, i, 256, before)
            assert fast[i - 1400] == pytest.approx(book, rel=1e-9, abs=1e-9)


def test_windows_as_wide_as_they_come() -> None:
    counts = RNG.poisson(3, 4096)
    fast = divergences(counts, 256, 256)
    for i in (256, 257, 511, 4095, 4096):
        assert fast[i - 256] == pytest.approx(divergence_by_the_book(counts, i, 256), rel=1e-9, abs=1e-9)


def test_a_window_without_values_is_never_chosen() -> None:
    counts = np.zeros(BINS, dtype=np.int64)
    counts[700:] = 5
    fast = divergences(counts, 128, 128)
    assert np.isinf(fast[: 701 - 128]).all()
    assert np.isfinite(fast[701 - 128 :]).all()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_no_window_that_is_skipped_would_have_won(name: str) -> None:
    histogram = histogram_of(DISTRIBUTIONS[name])
    absolute, signed = histogram.absolute, signed_counts(histogram)
    for counts, levels, narrowest in ((absolute, 128, 128), (signed, 256, 2100), (signed[::-1], 256, 2100)):
        for before in (0, 1000):
            least = narrowest + first_least(divergences(counts, levels, narrowest, before))
            assert best_window(counts, levels, narrowest, before) == least


def test_of_equal_divergences_the_first_wins() -> None:
    assert first_least(np.array([3.0, 1.0 + 1e-15, 1.0, 2.0])) == 1


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_entropy_takes_the_first_least_threshold_and_half_a_bin(name: str) -> None:
    histogram = histogram_of(DISTRIBUTIONS[name])
    fast = divergences(bin_0_counts_as_bin_1(histogram.absolute), 128, 128)
    assert entropy(histogram).amax == (128 + int(np.argmin(fast)) + 0.5) * histogram.width


def test_entropy_clips_a_lone_outlier() -> None:
    histogram = histogram_of(DISTRIBUTIONS["outlier"])
    assert entropy(histogram).amax < 30
    assert entropy_asymmetric(histogram).high < 30


def slow_divergence(window: np.ndarray, below: int, above: int, from_top: bool) -> float:
    """KL(P‖Q) of one window into 256 levels, dealt from the end that is fixed, by sums over each level's bins."""
    p = window.astype(float)
    p[0] += below
    p[-1] += above
    level = np.arange(len(window)) * 256 // len(window)
    if from_top:
        level = 255 - level[::-1]
    filled = window > 0
    mean = np.bincount(level, window) / np.maximum(np.bincount(level, filled), 1)
    q = np.where(filled, mean[level], 0.0)
    p, q = p / p.sum(), q / q.sum()
    some = p > 0
    return float(np.sum(p[some] * np.log(p[some] / np.maximum(q[some], EPSILON))))


def slow_entropy_asymmetric(histogram: Histogram) -> TensorRange:
    """The definition in the docstring, window by window."""
    counts = signed_counts(histogram)
    counts[ZERO] = counts[ZERO + 1]
    first, stop = min(np.flatnonzero(counts)[0], ZERO), max(np.flatnonzero(counts)[-1] + 1, ZERO)

    def best(windows: list[tuple[int, int]], from_top: bool) -> tuple[int, int]:
        judged = [
            (slow_divergence(counts[a:b], counts[:a].sum(), counts[b:].sum(), from_top), b - a, (a, b))
            for a, b in windows
            if np.count_nonzero(counts[a:b]) > 256
        ]
        least = min(judged)[0]
        return next(
            window for divergence, _, window in sorted(judged, key=lambda j: j[1]) if divergence < least + 1e-12
        )

    low, high = first, stop
    if stop > ZERO:
        low, high = best([(low, b) for b in range(ZERO, stop + 1)], from_top=False)
    if first < ZERO:
        low, high = best([(a, high) for a in range(first, ZERO + 1)], from_top=True)
        if stop > ZERO and low > first:
            low, high = best([(low, b) for b in range(ZERO, stop + 1)], from_top=False)
    ends = ((end - ZERO) * histogram.width for end in (low, high))
    return TensorRange.asymmetric(*np.clip(list(ends), histogram.minimum, histogram.maximum).tolist())


@pytest.mark.parametrize("name", ["laplace", "relu", "silu", "negative"])
def test_asymmetric_entropy_equals_its_definition(name: str) -> None:
    histogram = histogram_of(DISTRIBUTIONS[name])
    assert entropy_asymmetric(histogram) == slow_entropy_asymmetric(histogram)


def test_exact_zeros_do_not_move_the_asymmetric_ends() -> None:
    assert entropy_asymmetric(histogram_of(np.append(NORMAL, np.zeros(10**6)))) == entropy_asymmetric(
        histogram_of(np.append(NORMAL, np.zeros(10)))
    )


@pytest.mark.parametrize("values", [np.linspace(-1, 3, 200), RNG.standard_normal(150), np.repeat([0.0, 1.0, 6.0], 999)])
def test_few_filled_bins_are_kept_whole(values: np.ndarray) -> None:
    histogram = histogram_of(values)
    found, seen = entropy_asymmetric(histogram), minmax(histogram)
    assert (found.low, found.high) == (seen.low, seen.high)


def test_values_far_from_zero_are_not_clipped_away() -> None:
    assert entropy_asymmetric(histogram_of(RNG.uniform(2, 3, 20_000))).high > 2.9
