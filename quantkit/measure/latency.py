"""Measures latency as a distribution, in rounds that alternate between sessions so that drift affects all alike."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Latency
from quantkit.core.progress import Advance
from quantkit.targets.session import DeviceSession, Session, TimedSession

ROUNDS = 10
FEWEST_ROUNDS = 3
SECONDS_PER_SESSION = 2.0
MOST_REPEATS = 200  # in a round; 2000 samples in all are enough for the 99th percentile
SETTLE_SECONDS = 0.05  # lets the last session's spinning threads go to sleep
WARM_UP = 3


@dataclass(frozen=True)
class Timing:
    """The speed of one session at one batch size.

    Attributes:
        latency: Of one synchronous inference, in ms; without copies on a device that has its own clock.
        throughput: Samples per second of back-to-back inferences.
        with_copies: Latency with the copies between host and device.
        graph: Latency without copies, with all kernels launched as one CUDA graph.
    """

    latency: Latency
    throughput: float
    with_copies: Latency | None = None
    graph: Latency | None = None


@dataclass
class _Samples:
    """The measurements of one session so far, in milliseconds."""

    alone: list[float] = field(default_factory=list)
    with_copies: list[float] = field(default_factory=list)
    graph: list[float] = field(default_factory=list)
    back_to_back: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)  # of ``alone``, one for each round

    def run(self, session: Session, inputs: Mapping[str, npt.NDArray[Any]], repeats: int) -> None:
        """Warm up, then measure a round of ``repeats`` inferences."""
        before = len(self.alone)
        if isinstance(session, DeviceSession):
            session.device_times(inputs, max(WARM_UP, repeats // 10))
            times = session.device_times(inputs, repeats)
            self.alone += times.compute
            self.with_copies += times.with_copies
            self.graph += times.graph
            self.back_to_back.append(times.back_to_back)
        elif isinstance(session, TimedSession):
            session.times(inputs, WARM_UP)
            timed = session.times(inputs, repeats)
            self.alone += timed.latency
            self.back_to_back.append(timed.back_to_back)
        else:
            for _ in range(WARM_UP):
                session.infer(inputs)
            for _ in range(repeats):
                start = time.perf_counter()
                session.infer(inputs)
                self.alone.append((time.perf_counter() - start) * 1e3)
        self.medians.append(float(np.median(self.alone[before:])))

    def timing(self, batch: int) -> Timing:
        """Summarize all rounds."""
        pace = float(np.mean(self.back_to_back or self.alone))
        copies = _percentiles(self.with_copies) if self.with_copies else None
        graph = _percentiles(self.graph) if self.graph else None
        spread = {"p50_low": min(self.medians), "p50_high": max(self.medians)}
        return Timing(_percentiles(self.alone).model_copy(update=spread), 1e3 * batch / pace, copies, graph)


def time_sessions(
    sessions: Sequence[Session], inputs: Mapping[str, npt.NDArray[Any]], batch: int, advance: Advance
) -> list[Timing]:
    """Time every session on the same batch: at most about 2 s each, in 10 interleaved rounds after a warm-up.

    Args:
        sessions: The loaded models.
        inputs: One batch of inputs by name.
        batch: The number of samples in it.
        advance: Called after each session's round.

    Returns:
        The timings, in the order of ``sessions``.
    """
    estimates = [_estimate(session, inputs) for session in sessions]
    samples = [_Samples() for _ in sessions]
    slow = max(estimates) * WARM_UP * ROUNDS > 10 * SECONDS_PER_SESSION
    for _ in range(FEWEST_ROUNDS if slow else ROUNDS):
        for session, estimate, sample in zip(sessions, estimates, samples, strict=True):
            repeats = int(np.clip(SECONDS_PER_SESSION / ROUNDS / estimate, 3, MOST_REPEATS))
            time.sleep(SETTLE_SECONDS)
            sample.run(session, inputs, repeats)
            advance(1)
    return [sample.timing(batch) for sample in samples]


def rounds_for(count: int) -> int:
    """Return the largest number of steps that :func:`time_sessions` advances by for ``count`` sessions."""
    return ROUNDS * count


def _estimate(session: Session, inputs: Mapping[str, npt.NDArray[Any]]) -> float:
    """Return the seconds that one inference takes, ignoring the first."""
    session.infer(inputs)
    times = []
    for _ in range(WARM_UP):
        start = time.perf_counter()
        session.infer(inputs)
        times.append(time.perf_counter() - start)
    return min(times)


def _percentiles(milliseconds: Sequence[float]) -> Latency:
    p10, p50, p90, p99 = (float(value) for value in np.percentile(milliseconds, [10, 50, 90, 99]))
    return Latency(p10=p10, p50=p50, p90=p90, p99=p99)
