"""What was counted and timed, as rows, and what makes them questionable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from quantkit.core.comparison import GpuLoad, Interval, LayerError, LayerTime, Row
from quantkit.measure.gpu import driver, under_load
from quantkit.measure.latency import Timing
from quantkit.pipeline.comparison.candidates import Candidate, variant_of
from quantkit.targets.base import DeviceSession, TimedSession

LAYER_REPEATS = 20  # a mean of so many for each layer
NOISE_DB = 3.0  # outputs of a lower SQNR have little to do with FP32's
NEAR_CHANCE = 2.0  # FP32 accuracy below this many times chance: the preprocessing is probably wrong


@dataclass(frozen=True)
class Look:
    """What only some sessions tell: a GPU's load, layer times, how the runtime runs it."""

    load: GpuLoad | None = None
    layers: tuple[LayerTime, ...] = ()
    runtime: dict[str, str] = field(default_factory=dict)
    layer_errors: tuple[LayerError, ...] = ()


def look_at(candidate: Candidate, timing: Timing, inputs: Mapping[str, npt.NDArray[Any]], layers: bool) -> Look:
    """All that the session tells; what is known of layers where asked for."""
    session = candidate.session
    errors = candidate.layer_errors if layers else ()
    if isinstance(session, DeviceSession):
        load = under_load(session, inputs, timing.latency.p50)
        return Look(load, session.layer_times(inputs, LAYER_REPEATS) if layers else (), layer_errors=errors)
    if isinstance(session, TimedSession):
        return Look(None, session.layer_times(inputs, LAYER_REPEATS) if layers else (), session.runtime, errors)
    return Look(layer_errors=errors)


def gpu_of(candidates: Sequence[Candidate]) -> str:
    """The GPU that was measured on and its driver; empty where it was CPUs alone."""
    names = {c.session.device_name for c in candidates if isinstance(c.session, DeviceSession)}
    version = driver() if names else ""
    return ", ".join([*sorted(names), *([f"driver {version}"] if version else [])])


def rows_of(
    candidates: Sequence[Candidate], timings: Sequence[Timing], looks: Sequence[Look], batch: int, method: str
) -> list[Row]:
    """A row for each candidate at one batch, compared with FP32 on the same target."""
    fp32 = {
        c.artifact.target: (c.accuracy.metrics(), t.latency.p50)
        for c, t in zip(candidates, timings, strict=True)
        if c.artifact.precision == "fp32"
    }
    rows = []
    for candidate, timing, look in zip(candidates, timings, looks, strict=True):
        metrics = candidate.accuracy.metrics()
        reference, reference_p50 = fp32[candidate.artifact.target]
        artifact = candidate.artifact
        executed = candidate.session.executed_precision
        notes = list(artifact.notes)
        if artifact.precision == "fp16" and "f16" not in executed:
            notes.append(f"FP16 weights, computed in {executed}")
        rows.append(
            Row(
                target=artifact.target,
                device=candidate.device,
                precision=artifact.precision,
                variant=variant_of(artifact, method),
                batch=batch,
                executed_precision=executed,
                metrics=metrics,
                drop={name: reference[name].value - value.value for name, value in metrics.items()},
                agreement=candidate.fidelity.agreement,
                sqnr_db=None if artifact.precision == "fp32" else candidate.fidelity.sqnr_db,
                latency_ms=timing.latency,
                throughput=timing.throughput,
                speedup=reference_p50 / timing.latency.p50,
                size_bytes=artifact.size_bytes,
                notes=tuple(notes),
                latency_with_copies_ms=timing.with_copies,
                latency_graph_ms=timing.graph,
                gpu=look.load,
                layers=look.layers,
                runtime=look.runtime,
                layer_errors=look.layer_errors,
                changes={} if artifact.precision == "fp32" else candidate.paired.changes(),
                agreement_interval=None if artifact.precision == "fp32" else candidate.fidelity.agreement_interval,
            )
        )
    return rows


def doubts_about(rows: Sequence[Row], count: int) -> list[str]:
    """What makes the figures questionable; ``count`` is the number of classes, 0 without labels."""
    doubts = []
    top1: Interval | None = rows[0].metrics.get("top1")
    if top1 is not None and top1.value < NEAR_CHANCE / count:
        doubts.append(
            f"FP32 accuracy is {top1.value:.1%}, near chance for {count} classes: "
            "the preprocessing or the order of classes is probably wrong."
        )
    doubts += [
        f"The outputs of {row.target} {row.precision.upper()}{f' ({row.variant})' if row.variant else ''} are noise "
        f"(SQNR {row.sqnr_db:.1f} dB): something is computed wrongly, or needs --exclude."
        for row in rows
        if row.sqnr_db is not None and -300 < row.sqnr_db < NOISE_DB
    ]
    if any(row.sqnr_db is not None and row.sqnr_db <= -300 for row in rows):
        doubts.append("Some outputs are not finite; their SQNR is given as -300 dB.")
    return doubts
