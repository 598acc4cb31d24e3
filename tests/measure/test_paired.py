"""What became of FP32's right and wrong answers."""

from __future__ import annotations

import numpy as np
import pytest

from quantkit.measure.paired import Paired, change


def test_lost_and_won_are_counted_over_batches() -> None:
    paired = Paired()
    reference = np.array([1, 1, 1, 0, 0, 1], bool)
    own = np.array([1, 0, 0, 1, 0, 1], bool)
    for part in (slice(0, 4), slice(4, 6)):
        paired.update({"top1": reference[part]}, {"top1": own[part]})
    found = paired.changes()["top1"]
    assert (found.lost, found.won) == (2, 1)
    assert found.low <= 1 / 6 <= found.high


def test_without_labels_there_is_nothing() -> None:
    assert Paired().changes() == {}


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
