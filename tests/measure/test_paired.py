"""What became of FP32's right and wrong answers."""

from __future__ import annotations

import numpy as np
import pytest

from quantkit.measure.paired import change, mean_change


@pytest.mark.parametrize(
    ("lost", "won", "p_value"),
    [(0, 0, 1.0), (1, 1, 1.0), (10, 0, 2 / 2**10), (8, 2, 2 * (1 + 10 + 45) / 2**10)],
)
def test_the_exact_test_of_mcnemar(lost: int, won: int, p_value: float) -> None:
    assert change(lost, won, 1000).p_value == pytest.approx(p_value)


def test_the_interval_holds_the_truth_in_about_95_of_100() -> None:
    rng = np.random.default_rng(0)
    total, lose, win = 1000, 0.02, 0.01
    lost, won, _ = rng.multinomial(total, [lose, win, 1 - lose - win], size=4000).T
    inside = [
        c.low <= lose - win <= c.high for c in (change(int(a), int(b), total) for a, b in zip(lost, won, strict=True))
    ]
    assert 0.94 < np.mean(inside) < 0.975


def test_the_interval_stays_within_what_can_be() -> None:
    for lost, won in ((5, 0), (0, 5), (0, 0)):
        found = change(lost, won, 5)
        assert -1 <= found.low <= (lost - won) / 5 <= found.high <= 1


def test_means_are_tested_by_students_paired_test() -> None:
    # Student's own data of 1908: ten patients' extra hours of sleep under two drugs; t = 4.062, p = 0.0028.
    losses = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
    found = mean_change(losses)
    assert found.p_value == pytest.approx(0.00283, abs=1e-5)
    assert (found.low, found.high) == (pytest.approx(0.70, abs=0.01), pytest.approx(2.46, abs=0.01))
    assert (found.lost, found.won) == (9, 0)


def test_what_did_not_change_is_chance() -> None:
    assert mean_change(np.zeros(5)).p_value == 1
    assert mean_change(np.array([0.3])).p_value == 1
