"""Kullback-Leibler divergence of class scores."""

from __future__ import annotations

import numpy as np
import pytest

from quantkit.measure.divergence import divergence


def test_by_hand() -> None:
    p, q = np.array([0.5, 0.25, 0.25]), np.array([0.25, 0.25, 0.5])
    expected = 0.5 * np.log(2) + 0.25 * np.log(0.5)
    scores = np.log([p]) + 7.0, np.log([q]) - 3.0  # Softmax does not see what is added to all
    assert divergence(*scores) == pytest.approx([expected])
    assert divergence(p[None], q[None]) == pytest.approx([expected])  # shares already


def test_equal_scores_do_not_diverge_and_large_ones_do_not_overflow() -> None:
    scores = np.array([[1000.0, -1000.0], [3.0, 4.0]], np.float32)
    assert divergence(scores, scores) == pytest.approx([0, 0])
    assert divergence(scores[:1], -scores[:1]) == pytest.approx([2000])


def test_what_is_not_finite_diverges_without_end() -> None:
    assert divergence(np.array([[1.0, 2.0]]), np.array([[np.nan, 2.0]])) == np.inf
