from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit.core.decibels import NOT_FINITE_DB
from quantkit.measure.environment import environment, installed
from quantkit.measure.intervals import mean_interval, wilson_interval
from quantkit.measure.latency import ROUNDS, planned, schedule, time_sessions
from quantkit.measure.sqnr import OutputNoise


def test_wilson_meets_the_textbook() -> None:
    # Agresti & Coull (1998), table: 0 of 10 gives (0, 0.278); 81 of 263 gives (0.2553, 0.3662) (Newcombe 1998).
    assert wilson_interval(0, 10).high == pytest.approx(0.2775, abs=5e-4)
    interval = wilson_interval(81, 263)
    assert (interval.low, interval.high) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))


def test_students_interval_meets_the_textbook() -> None:
    # Student's t for 9 degrees of freedom is 2.262: mean 5.5, standard deviation 3.0277 of 1..10.
    found = mean_interval(np.arange(1.0, 11.0))
    assert found.value == 5.5
    assert found.high == pytest.approx(5.5 + 2.2622 * 3.0277 / 10**0.5, abs=1e-3)
    assert mean_interval(np.array([3.0])).low is None


def test_sqnr_over_batches() -> None:
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((40, 6)).astype(np.float32)
    noisy = reference + rng.standard_normal((40, 6)).astype(np.float32) * 0.1
    noise = OutputNoise()
    for part in np.array_split(np.arange(40), 3):
        noise.update({"y": reference[part]}, {"y": noisy[part]})
    expected = 10 * np.log10((reference**2).sum() / ((reference - noisy) ** 2).sum())
    assert noise.sqnr_db == pytest.approx(expected, abs=1e-3)


def test_the_worst_output_counts_and_equal_ones_have_no_sqnr() -> None:
    a, b = np.ones((2, 3)), np.ones((2, 4))
    noise = OutputNoise()
    noise.update({"a": a, "b": b}, {"a": a * 1.01, "b": b * 1.1})
    assert noise.sqnr_db == pytest.approx(20)
    equal = OutputNoise()
    equal.update({"a": a}, {"a": a})
    assert equal.sqnr_db is None


def test_outputs_that_are_not_finite_have_the_least_sqnr() -> None:
    noise = OutputNoise()
    noise.update({"a": np.zeros((2, 3))}, {"a": np.full((2, 3), np.nan)})
    assert noise.sqnr_db == NOT_FINITE_DB


class Sleeper:
    executed_precision = "f32"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def infer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        time.sleep(self.seconds)
        return {}


def test_latency_tells_slow_from_fast_and_batches_count() -> None:
    steps: list[int] = []
    sessions = [Sleeper(0.001), Sleeper(0.004)]
    plan = schedule(sessions, {})
    fast, slow = time_sessions(sessions, {}, 4, steps.append, plan)
    assert 1 <= fast.latency.p10 <= fast.latency.p50 <= fast.latency.p90 <= fast.latency.p99
    assert slow.latency.p50 > 1.5 * fast.latency.p50
    assert slow.throughput < 4 / 0.004
    assert sum(steps) == plan.steps == 20


@pytest.mark.parametrize("slowest", [0.001, 0.01, 0.1, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("seconds", [1.0, 5.0, 20.0])
def test_timing_keeps_to_its_seconds_or_to_three_single_runs(slowest: float, seconds: float) -> None:
    plan = planned([0.0005, slowest], ROUNDS, seconds)
    for estimate, repeats, warm_up in zip([0.0005, slowest], plan.repeats, plan.warm_ups, strict=True):
        taken = plan.rounds * (repeats + warm_up) * estimate
        assert repeats >= 1
        assert taken <= seconds * 1.001 or (plan.rounds, repeats, warm_up) == (3, 1, 0)


@pytest.mark.parametrize("rounds", [1, 2, 10, 40])
def test_no_more_rounds_than_asked_for(rounds: int) -> None:
    assert planned([0.001], rounds, 5.0).rounds == rounds
    assert planned([10.0], rounds, 5.0).rounds == min(rounds, 3)


def test_a_slow_model_is_run_a_few_times_in_all() -> None:
    runs: list[float] = []

    class Slow(Sleeper):
        def infer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
            runs.append(self.seconds)
            return super().infer(inputs)

    session = Slow(0.3)
    time_sessions([session], {}, 1, lambda _: None, schedule([session], {}, seconds=0.5))
    assert len(runs) <= 5


def test_the_environment_names_machine_and_versions() -> None:
    here = environment()
    assert here.cores >= 1
    assert here.cpu
    assert {"numpy", "onnx", "onnxruntime"} <= set(here.packages)


def test_a_package_without_metadata_is_named_while_it_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT is often unpacked beside its libraries rather than installed."""
    (tmp_path / "unpacked_runtime.py").write_text('__version__ = "8.6.0"\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert installed(("unpacked_runtime", "numpy")) == {"numpy": np.__version__}
    importlib.import_module("unpacked_runtime")
    assert installed(("unpacked_runtime", "numpy")) == {"unpacked_runtime": "8.6.0", "numpy": np.__version__}
