"""Times candidates, and collects details that only some runtimes report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import GpuLoad, LayerTime
from quantkit.core.progress import Progress, silent
from quantkit.datasets import Batch
from quantkit.measure.gpu import under_load
from quantkit.measure.latency import ROUNDS, SECONDS, Timing, schedule, time_sessions
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.targets.session import DeviceSession, TimedSession

LAYER_REPEATS = 20  # inferences that each layer's mean time is taken from, if there is time


@dataclass(frozen=True)
class Timed:
    """The timing of one candidate at one batch size; only some runtimes report load, layers and runtime details."""

    candidate: Candidate
    batch: int
    timing: Timing
    load: GpuLoad | None = None
    layers: tuple[LayerTime, ...] = ()
    runtime: Mapping[str, str] = field(default_factory=dict)


def time_candidates(
    candidates: Sequence[Candidate],
    first: Batch,
    sizes: Sequence[int],
    progress: Progress = silent,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
) -> list[Timed]:
    """Time every candidate at every batch size.

    Args:
        candidates: The candidates.
        first: The samples to use, repeated or cut to each size.
        sizes: The batch sizes; layers are timed at the first of them only.
        progress: Displays the progress.
        rounds: The number of rounds, if there is time for them.
        seconds: The seconds for each candidate and batch size.

    Returns:
        The timings, by batch size and candidate.
    """
    found = []
    for size in sizes:
        inputs = first.resized(size)
        at = f" at batch {size}" if len(sizes) > 1 else ""
        sessions = [candidate.session for candidate in candidates]
        plan = schedule(sessions, inputs, rounds, seconds)
        with progress(f"timing{at}", plan.steps, "rounds") as advance:
            timings = time_sessions(sessions, inputs, size, advance, plan)
        for candidate, timing in zip(candidates, timings, strict=True):
            repeats = int(np.clip(1e3 * seconds / timing.latency.p50, 1, LAYER_REPEATS)) if size == sizes[0] else 0
            found.append(_looked_at(candidate, size, timing, inputs, repeats))
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
    return Timed(candidate, batch, timing, load, times, runtime)
