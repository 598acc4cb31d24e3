"""Rank correlation and edit distance, against what others compute."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantkit.measure.edit_distance import edit_distance
from quantkit.measure.rank import spearman, spearman_change, spearman_interval


def test_the_correlation_is_scipys() -> None:
    spearmanr = pytest.importorskip("scipy.stats").spearmanr
    random = np.random.default_rng(0)
    values, scores = random.normal(size=80), random.integers(0, 5, 80).astype(float)  # with ties
    assert spearman(values, scores) == pytest.approx(spearmanr(values, scores).statistic)
    assert spearman(np.ones(5), np.arange(5.0)) is None


def test_the_interval_holds_the_value_and_narrows_with_samples() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=400)
    values = scores + random.normal(size=400)
    wide, narrow = (spearman_interval(values[:count], scores[:count]) for count in (40, 400))
    assert wide is not None
    assert narrow is not None
    for found in (wide, narrow):
        assert found.low is not None
        assert found.high is not None
        assert found.low < found.value < found.high
    assert narrow.high - narrow.low < wide.high - wide.low  # type: ignore[operator]
    assert spearman_interval(values, scores) == narrow  # the same every time


def test_a_change_is_told_from_chance() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=200)
    exact = scores + 0.3 * random.normal(size=200)
    same, worse = (spearman_change(exact + noise * random.normal(size=200), exact, scores) for noise in (0, 2))
    assert same is not None
    assert worse is not None
    assert (same.lost, same.won, same.low, same.high, same.p_value) == (0, 0, 0, 0, 1)
    assert worse.low > 0
    assert worse.p_value < 0.01
    assert worse.lost > worse.won


def test_edits_are_counted() -> None:
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == edit_distance("abc", "") == 3


@given(st.text("ab", max_size=8), st.text("ab", max_size=8))
def test_the_distance_is_that_of_the_definition(first: str, second: str) -> None:
    def slow(a: str, b: str) -> int:
        if not a or not b:
            return len(a) + len(b)
        return min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1, slow(a[1:], b[1:]) + (a[0] != b[0]))

    assert edit_distance(first[:5], second[:5]) == slow(first[:5], second[:5])
