"""The interval of a speed-up holds the truth as often as it says, and a disturbed machine is recognized."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from quantkit.core.comparison import Interval, Latency
from quantkit.measure.disturbance import FAR_APART, disturbance, speedup_interval
from quantkit.measure.latency import Rounds, planned

TRUTH = 2.5
TRIALS = 2000


def drawn(rng: np.random.Generator, rounds: int, load: float, own: float) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Medians of two models in the same rounds: a load that both share, and noise of their own."""
    shared = rng.lognormal(0.0, load, rounds)
    fp32, int8 = rng.lognormal(0.0, own, (2, rounds))
    return TRUTH * shared * fp32, shared * int8


@pytest.mark.parametrize("rounds", [3, 10, 30])
@pytest.mark.parametrize(("load", "own"), [(0.0, 0.02), (0.5, 0.05), (1.0, 0.3)])
def test_the_interval_covers_the_truth_in_95_of_100(rounds: int, load: float, own: float) -> None:
    rng = np.random.default_rng(rounds)
    covered = 0
    for _ in range(TRIALS):
        found = speedup_interval(*drawn(rng, rounds, load, own))
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= TRUTH <= found.high
    assert covered / TRIALS == pytest.approx(0.95, abs=0.017)  # 3.5 standard deviations of 2000 draws


def test_it_covers_the_truth_though_measuring_ends_once_it_is_narrow() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(TRIALS):
        fp32, int8 = drawn(rng, 30, 0.3, 0.2)
        for rounds in (10, 20, 30):
            found = speedup_interval(fp32[:rounds], int8[:rounds])
            assert found is not None
            if (found.high or 0) <= FAR_APART * (found.low or 0):
                break
        covered += (found.low or 0) <= TRUTH <= (found.high or 0)
    assert covered / TRIALS > 0.92


def test_what_disturbs_both_models_alike_does_not_widen_it() -> None:
    rng = np.random.default_rng(2)
    fp32, int8 = drawn(rng, 10, 1.0, 0.01)
    paired, apart = speedup_interval(fp32, int8), speedup_interval(fp32, rng.permutation(int8))
    assert paired is not None
    assert apart is not None
    assert (paired.high or 0) / (paired.low or 1) < 1.03
    assert (apart.high or 0) / (apart.low or 1) > 1.5


def test_students_t_worked_by_hand() -> None:
    """Ratios 1, 2 and 4: log2 has mean 1 and standard error 1/sqrt(3); t for two degrees of freedom is 4.3027."""
    found = speedup_interval([1.0, 2.0, 4.0], [1.0, 1.0, 1.0])
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx(
        (2.0, 2 ** (1 - 4.3027 / 3**0.5), 2 ** (1 + 4.3027 / 3**0.5)), rel=1e-4
    )
    held = speedup_interval([2.0, 2.0], [1.0, 1.0], speedup=2.2)
    assert held == Interval(value=2.2, low=2.0, high=2.2)


@pytest.mark.parametrize(("reference", "own"), [([1.0], [1.0]), ([], []), ([1.0, 2.0], [1.0])])
def test_too_few_rounds_have_no_interval(reference: list[float], own: list[float]) -> None:
    assert speedup_interval(reference, own) is None


@pytest.mark.parametrize(
    ("p90", "interval", "said"),
    [
        (1.9, None, ""),
        (3.0, None, "one in ten inferences took over 3.0 times the median"),
        (1.2, Interval(value=2, low=1.9, high=2.1), ""),
        (1.2, Interval(value=3, low=1.5, high=11), "rounds put the speed-up anywhere from 1.50x to 11.00x"),
    ],
)
def test_signs_of_a_disturbance(p90: float, interval: Interval | None, said: str) -> None:
    assert disturbance(Latency(p10=1, p50=1, p90=p90, p99=9), interval) == said


class Restless:
    """A model that takes 1 ms, but in every second round of ``period`` inferences 1 to 6 ms."""

    executed_precision = "f32"

    def __init__(self, period: int) -> None:
        self.runs, self.period, self.rng = 0, period, np.random.default_rng(3)

    def infer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self.runs += 1
        restless = self.period and (self.runs // self.period) % 2
        time.sleep(0.001 * (self.rng.uniform(1, 6) if restless else 1))
        return {}


def test_rounds_of_a_restless_model_are_apart_and_can_be_gone_on_with() -> None:
    plan = planned([0.001, 0.001], 6, 0.5)
    rounds = Rounds([Restless(0), Restless(plan.repeats[0] + plan.warm_ups[0])], {}, plan)
    rounds.measure(lambda _: None)
    steady, restless = rounds.timings(1)
    assert len(steady.rounds) == len(restless.rounds) == 6
    assert max(restless.rounds) > 1.5 * min(restless.rounds)
    speedup = speedup_interval(steady.rounds, restless.rounds)
    assert "rounds put the speed-up anywhere" in disturbance(restless.latency, speedup)
    rounds.measure(lambda _: None)
    assert [len(timing.rounds) for timing in rounds.timings(1)] == [12, 12]
