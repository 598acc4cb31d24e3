"""Times candidates, and collects details that only some runtimes report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from quantkit.core.comparison import GpuLoad, LayerTime
from quantkit.core.progress import Progress, silent
from quantkit.datasets import Batch
from quantkit.measure.gpu import under_load
from quantkit.measure.latency import Timing, rounds_for, time_sessions
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.targets.session import DeviceSession, TimedSession

LAYER_REPEATS = 20  # inferences that each layer's mean time is taken from


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
    candidates: Sequence[Candidate], first: Batch, sizes: Sequence[int], progress: Progress = silent
) -> list[Timed]:
    """Time every candidate at every batch size.

    Args:
        candidates: The candidates.
        first: The samples to use, repeated or cut to each size.
        sizes: The batch sizes; layers are timed at the first of them only.
        progress: Displays the progress.

    Returns:
        The timings, by batch size and candidate.
    """
    found = []
    for size in sizes:
        inputs = first.resized(size)
        at = f" at batch {size}" if len(sizes) > 1 else ""
        with progress(f"timing{at}", rounds_for(len(candidates)), "rounds") as advance:
            timings = time_sessions([candidate.session for candidate in candidates], inputs, size, advance)
        for candidate, timing in zip(candidates, timings, strict=True):
            found.append(_looked_at(candidate, size, timing, inputs, layers=size == sizes[0]))
    return found


def _looked_at(
    candidate: Candidate, batch: int, timing: Timing, inputs: Mapping[str, npt.NDArray[Any]], layers: bool
) -> Timed:
    session = candidate.session
    load: GpuLoad | None = None
    runtime: Mapping[str, str] = {}
    if isinstance(session, DeviceSession):
        load = under_load(session, inputs, timing.latency.p50)
    elif isinstance(session, TimedSession):
        runtime = session.runtime
    else:
        return Timed(candidate, batch, timing)
    times = session.layer_times(inputs, LAYER_REPEATS) if layers else ()
    return Timed(candidate, batch, timing, load, times, runtime)
