"""Scales and ticks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantkit.reports.charts.axes import Scale, log_ticks, nice_ticks, scale_of, tick_label

VALUES = st.lists(st.floats(-1e9, 1e9, allow_subnormal=False), min_size=1, max_size=20)


@given(VALUES, st.integers(2, 10))
def test_every_value_and_every_tick_lies_on_the_axis(values: list[float], wanted: int) -> None:
    scale = scale_of(values, 200.0, 10.0)
    for value in (*values, *scale.ticks(wanted)):
        assert 10 - 1e-6 <= scale(value) <= 200 + 1e-6


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (97.3, 100.2, [98, 99, 100]),
        (-12, 31, [-10, 0, 10, 20, 30]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high, 5) == pytest.approx(ticks)


@given(st.floats(1e-6, 1e6), st.floats(1.1, 1e6), st.integers(2, 8))
def test_there_are_about_as_many_ticks_as_wanted(low: float, ratio: float, wanted: int) -> None:
    assert wanted / 2.6 - 1 <= len(nice_ticks(low, low * ratio, wanted)) <= wanted + 1


def test_a_logarithmic_axis_has_equal_ratios_at_equal_distances() -> None:
    scale = Scale(1, 100, 0, 200, logarithmic=True)
    assert (scale(1), scale(10), scale(100)) == pytest.approx((0, 100, 200))
    assert scale_of([0.1, 50.0], 0, 1).logarithmic
    assert not scale_of([0.0, 50.0], 0, 1).logarithmic
    assert not scale_of([10.0, 50.0], 0, 1).logarithmic
    assert log_ticks(0.15, 6) == [0.2, 0.5, 1, 2, 5]
    assert log_ticks(1, 1e9) == [10.0**n for n in range(10)]
    assert all(math.isfinite(scale_of([5.0], 0, 1)(5.0)) for _ in "a")


def test_labels_have_no_needless_digits() -> None:
    assert [tick_label(v) for v in (0.2, 1.0, 1200.0, -5.0, 0.30000000000000004)] == ["0.2", "1", "1,200", "−5", "0.3"]
