"""Measures models as servers: requests a second, their times and their energy, for several numbers of streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BackendMissing
from quantkit.core.progress import Advance
from quantkit.core.serving import Load, Serving
from quantkit.measure.gpu import energy_joules
from quantkit.targets.session import DeviceSession, Served, ServingSession

SECONDS = 1.0  # for each number of streams
WARM_UP_SECONDS = 0.05


def serve(
    sessions: Mapping[str, ServingSession],
    inputs: Mapping[str, npt.NDArray[Any]],
    batch: int,
    streams: Sequence[int],
    advance: Advance,
    seconds: float = SECONDS,
) -> Serving:
    """Let a model answer requests on one device, or on several at the same time.

    Args:
        sessions: The loaded model by device.
        inputs: The arrays of one request.
        batch: The samples in it.
        streams: The numbers of requests under way on each device.
        advance: Called after each number of streams.
        seconds: For how long each is measured.

    Returns:
        What each number of streams gives, in rising order, up to the first that a device cannot hold.

    Raises:
        BackendMissing: A device has not enough memory for the fewest streams.
    """
    loads: list[Load] = []
    beyond: str | None = None
    with ThreadPoolExecutor(len(sessions), thread_name_prefix="device") as pool:
        for count in sorted(set(streams)):
            try:
                for own in sessions.values():
                    if isinstance(own, DeviceSession):  # its contexts are made before energy is counted
                        own.serve(inputs, count, WARM_UP_SECONDS)
                before = _energy(sessions)
                served = list(pool.map(lambda own, n=count: own.serve(inputs, n, seconds), sessions.values()))
            except BackendMissing as error:
                if not loads:
                    raise
                beyond = error.what
                break
            loads.append(_load(count, served, before, _energy(sessions)))
            advance(1)
    return Serving(devices=tuple(sessions), batch=batch, loads=tuple(loads), beyond=beyond)


def _load(streams: int, served: Sequence[Served], before: float | None, after: float | None) -> Load:
    times = np.concatenate([own.latency for own in served])
    p50, p99 = (float(value) for value in np.percentile(times, [50, 99]))
    return Load(
        streams=streams,
        per_second=sum(len(own.latency) / own.seconds for own in served),
        p50_ms=p50,
        p99_ms=p99,
        joules=None if before is None or after is None else (after - before) / len(times),
    )


def _energy(sessions: Mapping[str, ServingSession]) -> float | None:
    """Return the joules that all devices have taken so far; None if one of them does not tell."""
    told = [energy_joules(own.bus) if isinstance(own, DeviceSession) else None for own in sessions.values()]
    return None if any(own is None for own in told) else sum(own for own in told if own is not None)
