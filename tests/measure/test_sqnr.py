from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantkit.core.decibels import NOT_FINITE_DB, decibels, energy, noise_energy


@given(st.sampled_from([np.float16, np.float32, np.float64, np.int64]), st.integers(0, 2**32 - 1))
def test_sums_are_those_of_float64(dtype: type, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = ((rng.standard_normal((3, 5, 7)) * 100).astype(dtype) for _ in range(2))
    assert energy(a) == pytest.approx(float((a.astype(np.float64) ** 2).sum()), rel=1e-9)
    exact = float(((a.astype(np.float64) - b.astype(np.float64)) ** 2).sum())
    assert noise_energy(a, b) == pytest.approx(exact, rel=1e-5)


def test_a_long_sum_keeps_what_float32_would_lose() -> None:
    values = np.concatenate([[4096.0], np.full(1_000_000, 1.0)]).astype(np.float32)
    assert energy(values) == 4096.0**2 + 1_000_000


def test_half_precision_does_not_overflow() -> None:
    values = np.full(10, 60_000, np.float16)
    assert noise_energy(values, -values) == 10 * (2 * float(values[0])) ** 2


def test_decibels() -> None:
    assert decibels(100.0, 1.0) == pytest.approx(20)
    assert decibels(1.0, 0.0) is None
    assert decibels(0.0, 0.0) is None
    for signal, noise in ((0.0, 1.0), (1.0, np.nan), (1.0, np.inf), (np.nan, 1.0), (1.0, 1e300 * 1e10)):
        assert decibels(signal, noise) == NOT_FINITE_DB
    broken = np.array([1.0, np.inf, np.nan], np.float32)
    assert decibels(3.0, noise_energy(np.ones(3, np.float32), broken)) == NOT_FINITE_DB
    assert decibels(np.inf, noise_energy(broken, broken)) == NOT_FINITE_DB
