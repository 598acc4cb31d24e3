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
SECONDS = 5.0  # for each session at most, with its warm-up; only FEWEST_ROUNDS single runs may take longer
SECONDS_PER_SESSION = 2.0  # of measured inferences, where they are fast enough
FEWEST_REPEATS = 3  # in a round, if there is time
MOST_REPEATS = 200  # in a round; 2000 samples in all are enough for the 99th percentile
SETTLE_SECONDS = 0.05  # lets the last session's spinning threads go to sleep
WARM_UP = 3
SETTLED_SECONDS = 0.5  # a model that has taken longer needs no more runs to be estimated
SHORTEST = 1e-9


@dataclass(frozen=True)
class Timing:
    """The speed of one session at one batch size.

    Attributes:
        latency: Of one synchronous inference, in ms; without copies on a device that has its own clock.
        throughput: Samples per second of back-to-back inferences.
        with_copies: Latency with the copies between host and device.
        graph: Latency without copies, with all kernels launched as one CUDA graph.
        rounds: The median of ``latency`` in each round, in ms.
    """

    latency: Latency
    throughput: float
    with_copies: Latency | None = None
    graph: Latency | None = None
    rounds: tuple[float, ...] = ()


@dataclass
class _Samples:
    """The measurements of one session so far, in milliseconds."""

    alone: list[float] = field(default_factory=list)
    with_copies: list[float] = field(default_factory=list)
    graph: list[float] = field(default_factory=list)
    back_to_back: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)  # of ``alone``, one for each round

    def run(self, session: Session, inputs: Mapping[str, npt.NDArray[Any]], repeats: int, warm_up: int) -> None:
        """Warm up with so many inferences, then measure a round of ``repeats`` inferences."""
        before = len(self.alone)
        if isinstance(session, DeviceSession):
            session.device_times(inputs, max(warm_up, repeats // 10, 1))
            times = session.device_times(inputs, repeats)
            self.alone += times.compute
            self.with_copies += times.with_copies
            self.graph += times.graph
            self.back_to_back.append(times.back_to_back)
        elif isinstance(session, TimedSession):
            if warm_up:
                session.times(inputs, warm_up)
            timed = session.times(inputs, repeats)
            self.alone += timed.latency
            self.back_to_back.append(timed.back_to_back)
        else:
            for _ in range(warm_up):
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
        latency = _percentiles(self.alone).model_copy(update=spread)
        return Timing(latency, 1e3 * batch / pace, copies, graph, tuple(self.medians))


@dataclass(frozen=True)
class Schedule:
    """How often sessions are run.

    Attributes:
        rounds: The number of rounds.
        repeats: The measured inferences of each session in a round.
        warm_ups: The inferences of each session before them.
    """

    rounds: int
    repeats: Sequence[int]
    warm_ups: Sequence[int]

    @property
    def steps(self) -> int:
        """The number of steps that :meth:`Rounds.measure` advances by."""
        return self.rounds * len(self.repeats)


def schedule(
    sessions: Sequence[Session],
    inputs: Mapping[str, npt.NDArray[Any]],
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
) -> Schedule:
    """Plan the rounds, after running each session a few times.

    Args:
        sessions: The loaded models.
        inputs: One batch of inputs by name.
        rounds: The number of rounds, if there is time for them.
        seconds: The seconds for each session. One that is too slow for three rounds of one inference takes longer.

    Returns:
        The plan.
    """
    return planned([_estimate(session, inputs) for session in sessions], rounds, seconds)


def planned(estimates: Sequence[float], rounds: int, seconds: float) -> Schedule:
    """Plan the rounds for sessions whose inferences take so many seconds; see :func:`schedule`."""
    possible = int(seconds / (2 * max(estimates)))  # rounds of one inference to warm up and one to measure
    used = max(1, min(rounds, max(possible, FEWEST_ROUNDS)))
    repeats, warm_ups = [], []
    for estimate in estimates:
        fitting = int(seconds / used / estimate)
        warm_up = min(WARM_UP, fitting // 2)
        wanted = int(np.clip(SECONDS_PER_SESSION / ROUNDS / estimate, FEWEST_REPEATS, MOST_REPEATS))
        repeats.append(max(1, min(wanted, fitting - warm_up)))
        warm_ups.append(warm_up)
    return Schedule(used, repeats, warm_ups)


class Rounds:
    """The rounds of several sessions on the same batch, which can be gone on with.

    Args:
        sessions: The loaded models.
        inputs: One batch of inputs by name.
        plan: How often sessions are run.
    """

    def __init__(self, sessions: Sequence[Session], inputs: Mapping[str, npt.NDArray[Any]], plan: Schedule) -> None:
        self._sessions, self._inputs, self._plan = sessions, inputs, plan
        self._samples = [_Samples() for _ in sessions]

    def measure(self, advance: Advance) -> None:
        """Measure the planned rounds, in addition to earlier ones; ``advance`` is called after each session's round."""
        plan = self._plan
        for _ in range(plan.rounds):
            each = zip(self._sessions, self._samples, plan.repeats, plan.warm_ups, strict=True)
            for session, sample, repeats, warm_up in each:
                time.sleep(SETTLE_SECONDS)
                sample.run(session, self._inputs, repeats, warm_up)
                advance(1)

    def timings(self, batch: int) -> list[Timing]:
        """Summarize all rounds so far, in the order of the sessions; ``batch`` is the number of samples in a batch."""
        return [sample.timing(batch) for sample in self._samples]


def time_sessions(
    sessions: Sequence[Session],
    inputs: Mapping[str, npt.NDArray[Any]],
    batch: int,
    advance: Advance,
    plan: Schedule | None = None,
) -> list[Timing]:
    """Time every session on the same batch: at most about 2 s each, in interleaved rounds after a warm-up.

    Args:
        sessions: The loaded models.
        inputs: One batch of inputs by name.
        batch: The number of samples in it.
        advance: Called after each session's round.
        plan: How often sessions are run; None plans it by default.

    Returns:
        The timings, in the order of ``sessions``.
    """
    rounds = Rounds(sessions, inputs, plan or schedule(sessions, inputs))
    rounds.measure(advance)
    return rounds.timings(batch)


def _estimate(session: Session, inputs: Mapping[str, npt.NDArray[Any]]) -> float:
    """Return the seconds that one inference takes, ignoring the first; a slow one is run only twice."""
    times: list[float] = []
    while len(times) <= (WARM_UP if sum(times) < SETTLED_SECONDS else 1):
        start = time.perf_counter()
        session.infer(inputs)
        times.append(time.perf_counter() - start)
    return max(min(times[1:]), SHORTEST)


def _percentiles(milliseconds: Sequence[float]) -> Latency:
    p10, p50, p90, p99 = (float(value) for value in np.percentile(milliseconds, [10, 50, 90, 99]))
    return Latency(p10=p10, p50=p50, p90=p90, p99=p99)
