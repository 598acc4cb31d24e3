"""Times candidates, longer on a disturbed machine, and collects details that only some runtimes report."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import GpuLoad, Interval, LayerTime
from quantkit.core.progress import Progress, silent
from quantkit.measure.disturbance import disturbance, speedup_interval
from quantkit.measure.gpu import under_load
from quantkit.measure.latency import ROUNDS, SECONDS, Rounds, Timing, schedule
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.pipeline.comparison.feeds import Feed
from quantkit.targets.session import DeviceSession, TimedSession

LAYER_REPEATS = 20  # inferences that each layer's mean time is taken from, if there is time
LONGEST = 3  # times the planned rounds, for latencies that are disturbed
log = logging.getLogger("quantkit")


@dataclass(frozen=True)
class Timed:
    """The timing of one candidate on one feed; only some runtimes report load, layers and runtime details.

    ``batch`` and ``shape`` are those of the feed. ``speedup`` is against FP32 of the same target, with its interval
    over the rounds; None for FP32 itself, and if there are too few rounds.
    """

    candidate: Candidate
    batch: int
    timing: Timing
    speedup: Interval | None = None
    load: GpuLoad | None = None
    layers: tuple[LayerTime, ...] = ()
    runtime: Mapping[str, str] = field(default_factory=dict)
    shape: str = ""


def time_candidates(
    candidates: Sequence[Candidate],
    feeds: Sequence[Feed],
    progress: Progress = silent,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
) -> list[Timed]:
    """Time every candidate on every feed.

    If latencies are disturbed, measuring goes on, for ``LONGEST`` times the planned rounds at most.

    Args:
        candidates: The candidates.
        feeds: The inputs; layers are timed on the first of them only.
        progress: Displays the progress.
        rounds: The number of rounds, if there is time for them.
        seconds: The seconds for each candidate and feed.

    Returns:
        The timings, by feed and candidate.
    """
    found = []
    for feed in feeds:
        size, inputs = feed.batch, feed.inputs
        at = f" at {feed.shape or f'batch {size}'}" if len(feeds) > 1 else ""
        sessions = [candidate.session for candidate in candidates]
        plan = schedule(sessions, inputs, rounds, seconds)
        measured = Rounds(sessions, inputs, plan)
        with progress(f"timing{at}", plan.steps, "rounds") as advance:
            measured.measure(advance)
        for _ in range(LONGEST - 1):
            if not _disturbed(candidates, measured.timings(size)):
                break
            log.info("Latencies%s vary as beside other work on this machine; measuring goes on.", at)
            with progress(f"timing{at}, longer", plan.steps, "rounds") as advance:
                measured.measure(advance)
        timings = measured.timings(size)
        speedups = _speedups(candidates, timings)
        for candidate, timing, speedup in zip(candidates, timings, speedups, strict=True):
            repeats = int(np.clip(1e3 * seconds / timing.latency.p50, 1, LAYER_REPEATS)) if feed is feeds[0] else 0
            looked_at = _looked_at(candidate, size, timing, inputs, repeats)
            found.append(replace(looked_at, speedup=speedup, shape=feed.shape))
    return found


def _disturbed(candidates: Sequence[Candidate], timings: Sequence[Timing]) -> bool:
    """True if any candidate's latency or speed-up tells of a disturbed machine."""
    speedups = _speedups(candidates, timings)
    return any(disturbance(timing.latency, speedup) for timing, speedup in zip(timings, speedups, strict=True))


def _speedups(candidates: Sequence[Candidate], timings: Sequence[Timing]) -> list[Interval | None]:
    """Return each candidate's speed-up against FP32 of its target and device; None for FP32."""
    fp32 = {c.place: timing for c, timing in zip(candidates, timings, strict=True) if c.is_reference}
    found = []
    for candidate, timing in zip(candidates, timings, strict=True):
        other = fp32[candidate.place]
        speedup = other.latency.p50 / timing.latency.p50
        found.append(None if candidate.is_reference else speedup_interval(other.rounds, timing.rounds, speedup))
    return found


def _looked_at(
    candidate: Candidate, batch: int, timing: Timing, inputs: Mapping[str, npt.NDArray[Any]], repeats: int
) -> Timed:
    """Return a timing with its details; layers are timed if they are to be run at all."""
    session = candidate.session
    load: GpuLoad | None = None
    runtime: Mapping[str, str] = {}
    if isinstance(session, DeviceSession):
        load = under_load(session, inputs, timing.latency.p50)
    elif isinstance(session, TimedSession):
        runtime = session.runtime
    else:
        return Timed(candidate, batch, timing)
    times = session.layer_times(inputs, repeats) if repeats else ()
    return Timed(candidate, batch, timing, None, load, times, runtime)
