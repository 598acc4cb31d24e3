"""Candidates in, their latency and what only some runtimes tell out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from quantkit.core.comparison import GpuLoad, LayerTime
from quantkit.core.progress import Progress, silent
from quantkit.datasets import Batch
from quantkit.datasets.stream import resized_batch
from quantkit.measure.gpu import under_load
from quantkit.measure.latency import Timing, rounds_for, time_sessions
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.targets.base import DeviceSession, TimedSession

LAYER_REPEATS = 20  # a mean of so many for each layer


@dataclass(frozen=True)
class Timed:
    """One candidate at one batch size, with what only some sessions tell: a GPU's load, layer times, how it runs."""

    candidate: Candidate
    batch: int
    timing: Timing
    load: GpuLoad | None = None
    layers: tuple[LayerTime, ...] = ()
    runtime: Mapping[str, str] = field(default_factory=dict)


def time_candidates(
    candidates: Sequence[Candidate], first: Batch, sizes: Sequence[int], progress: Progress = silent
) -> list[Timed]:
    """Time every candidate at every batch size, on the samples of ``first``; layers at the first size alone."""
    found = []
    for size in sizes:
        inputs = resized_batch(first.inputs, size)
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
