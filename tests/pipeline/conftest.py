"""The tests here look at what a comparison holds; tests/measure is about how exactly latency is taken."""

from __future__ import annotations

import pytest

from quantkit.measure import latency


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "ROUNDS", latency.FEWEST_ROUNDS)
    monkeypatch.setattr(latency, "SETTLE_SECONDS", 0.0)
