"""Our tests, quantiles, intervals and ranks are scipy's, to 1e-10 and better."""

from __future__ import annotations

import numpy as np
import pytest

from quantkit.measure.distributions import incomplete_beta, sign_test, student_p_value, student_quantile
from quantkit.measure.intervals import wilson_interval
from quantkit.measure.rank import _ranks

special = pytest.importorskip("scipy.special")
stats = pytest.importorskip("scipy.stats")

COUNTS = (1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 100, 999, 5_000, 50_000, 1_000_000)
DEGREES = (1, 2, 3, 4, 9, 30, 31, 32, 33, 99, 1_000, 4_999, 50_000, 1_000_000, 100_000_000)


def hits_of(total: int) -> list[int]:
    asked = (0, 1, 2, total // 10, total // 3, total // 2 - int(total**0.5), total // 2, total // 2 + 1, total)
    return sorted(set(asked) & set(range(total + 1)))


def close(value: float) -> object:
    return pytest.approx(value, rel=1e-10, abs=1e-290)


@pytest.mark.parametrize("total", COUNTS)
def test_the_sign_test_is_the_binomial_one(total: int) -> None:
    for hits in hits_of(total):
        assert sign_test(hits, total) == close(stats.binomtest(hits, total).pvalue)


def test_no_change_is_no_evidence() -> None:
    assert sign_test(0, 0) == 1


@pytest.mark.parametrize("total", COUNTS)
def test_a_shares_interval_is_wilsons(total: int) -> None:
    for hits in hits_of(total):
        found, wanted = wilson_interval(hits, total), stats.binomtest(hits, total).proportion_ci(method="wilson")
        assert (found.low, found.high) == (pytest.approx(wanted.low, rel=1e-10), pytest.approx(wanted.high, rel=1e-10))


@pytest.mark.parametrize("degrees", DEGREES)
def test_students_p_value_and_quantile(degrees: int) -> None:
    assert student_p_value(0.0, degrees) == 1
    assert student_p_value(1e200, degrees) == close(0)
    for t in (1e-300, 1e-4, 0.1, 0.5, 1.0, 1.7, 2.0, 3.0, 5.0, 10.0, 37.0, 100.0, 1e4, 1e8):
        assert student_p_value(t, degrees) == student_p_value(-t, degrees) == close(2 * stats.t.sf(t, degrees))
    for p_value in (0.4, 0.05, 0.01, 1e-6):
        assert student_quantile(p_value, degrees) == close(stats.t.isf(p_value / 2, degrees))


def test_the_incomplete_beta_function() -> None:
    for a in (0.5, 1.0, 2.5, 40.0, 1e4):
        for b in (0.5, 1.0, 3.0, 16.5, 1e3):
            for x in (1e-6, 0.01, 0.3, 0.5, 0.9, 0.999):
                wanted = special.betainc(a, b, x)
                assert incomplete_beta(a, b, x, 1 - x) == pytest.approx(wanted, rel=1e-10, abs=1e-280)


def test_ranks_share_ties_and_pass_on_nan() -> None:
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(size=(20, 31)), random.integers(0, 4, (20, 31)), np.ones((1, 31))])
    values[3, 5] = np.nan
    values[4, 6] = -np.inf
    assert np.array_equal(_ranks(values), stats.rankdata(values, axis=1), equal_nan=True)
    assert np.array_equal(_ranks(np.zeros((2, 1))), [[1], [1]])
