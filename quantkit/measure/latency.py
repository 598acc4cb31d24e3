"""Latency as a distribution: rounds that take the sessions in turn, so that a drift of the machine hits all alike."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Latency
from quantkit.core.progress import Advance
from quantkit.targets.base import Session

ROUNDS = 10
FEWEST_ROUNDS = 3
SECONDS_PER_SESSION = 2.0
MOST_REPEATS = 200  # in a round: 2000 samples tell the 99th percentile
SETTLE_SECONDS = 0.05  # lets the last session's spinning threads go to sleep
WARM_UP = 3


@dataclass(frozen=True)
class Timing:
    """``latency`` of one synchronous inference in ms; ``throughput`` in samples per second of back-to-back runs."""

    latency: Latency
    throughput: float


def time_sessions(
    sessions: Sequence[Session], inputs: Mapping[str, npt.NDArray[Any]], batch: int, advance: Advance
) -> list[Timing]:
    """Time every session on the same batch, at most about 2 s each in 10 interleaved rounds after a warm-up."""
    estimates = [_estimate(session, inputs) for session in sessions]
    samples: list[list[float]] = [[] for _ in sessions]
    slow = max(estimates) * WARM_UP * ROUNDS > 10 * SECONDS_PER_SESSION
    for _ in range(FEWEST_ROUNDS if slow else ROUNDS):
        for number, session in enumerate(sessions):
            repeats = int(np.clip(SECONDS_PER_SESSION / ROUNDS / estimates[number], 3, MOST_REPEATS))
            time.sleep(SETTLE_SECONDS)
            for _ in range(WARM_UP):
                session.infer(inputs)
            for _ in range(repeats):
                start = time.perf_counter()
                session.infer(inputs)
                samples[number].append(time.perf_counter() - start)
            advance(1)
    return [_timing(np.array(taken), batch) for taken in samples]


def rounds_for(count: int) -> int:
    """How many steps :func:`time_sessions` advances by at most."""
    return ROUNDS * count


def _estimate(session: Session, inputs: Mapping[str, npt.NDArray[Any]]) -> float:
    """Seconds for one inference, the first one left out."""
    session.infer(inputs)
    times = []
    for _ in range(WARM_UP):
        start = time.perf_counter()
        session.infer(inputs)
        times.append(time.perf_counter() - start)
    return min(times)


def _timing(seconds: npt.NDArray[np.float64], batch: int) -> Timing:
    p10, p50, p90, p99 = (float(value) for value in np.percentile(seconds * 1e3, [10, 50, 90, 99]))
    return Timing(Latency(p10=p10, p50=p50, p90=p90, p99=p99), float(batch * len(seconds) / seconds.sum()))
