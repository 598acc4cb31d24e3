"""Makes rows from evaluations and timings, and warnings about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantkit.core.comparison import LayerError, Row
from quantkit.core.figures import Metric
from quantkit.measure.gpu import driver
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.pipeline.comparison.evaluate import Evaluation
from quantkit.pipeline.comparison.timing import Timed
from quantkit.targets.session import DeviceSession

NOISE_DB = 3.0  # outputs with a lower SQNR have little in common with FP32's


def rows_of(
    timed: Sequence[Timed],
    evaluation: Evaluation,
    metrics: Sequence[Metric],
    layer_errors: Mapping[str, tuple[LayerError, ...]],
) -> list[Row]:
    """Make a row for each candidate and batch size, compared with FP32 on the same target.

    Args:
        timed: The timings of all candidates.
        evaluation: The results of all candidates.
        metrics: The metrics of the task and of the user.
        layer_errors: The layers' errors by candidate key.

    Returns:
        The rows, grouped by target.
    """
    fp32 = {(one.candidate.artifact.target, one.batch): one for one in timed if one.candidate.is_reference}
    first_batch = timed[0].batch
    rows = [
        _row(one, fp32[one.candidate.artifact.target, one.batch], evaluation, metrics, layer_errors, first_batch)
        for one in timed
    ]
    targets = [one.candidate.artifact.target for one in timed]
    return sorted(rows, key=lambda row: targets.index(row.target))


def _row(
    timed: Timed,
    reference: Timed,
    evaluation: Evaluation,
    metrics: Sequence[Metric],
    layer_errors: Mapping[str, tuple[LayerError, ...]],
    first_batch: int,
) -> Row:
    candidate, latency = timed.candidate, timed.timing.latency
    artifact, executed = candidate.artifact, candidate.session.executed_precision
    result = evaluation.results[candidate.key]
    expected = evaluation.results[reference.candidate.key].metrics
    notes = list(artifact.notes)
    if artifact.precision == "fp16" and "f16" not in executed:
        notes.append(f"FP16 weights, computed in {executed}")
    return Row(
        target=artifact.target,
        device=candidate.device,
        precision=artifact.precision,
        variant=candidate.variant,
        batch=timed.batch,
        executed_precision=executed,
        metrics=dict(result.metrics),
        drop={
            metric.name: result.drops.get(
                metric.name, metric.loss(expected[metric.name].value, result.metrics[metric.name].value)
            )
            for metric in metrics
            if metric.name in result.metrics and metric.name in expected and not metric.of_fp32
        },
        agreement=None if result.agreement is None else result.agreement.value,
        sqnr_db=None if candidate.is_reference else evaluation.sqnr_db[candidate.key],
        latency_ms=latency,
        throughput=timed.timing.throughput,
        speedup=reference.timing.latency.p50 / latency.p50,
        size_bytes=artifact.size_bytes,
        notes=tuple(notes),
        latency_with_copies_ms=timed.timing.with_copies,
        latency_graph_ms=timed.timing.graph,
        gpu=timed.load,
        layers=timed.layers,
        runtime=dict(timed.runtime),
        layer_errors=layer_errors.get(candidate.key, ()) if timed.batch == first_batch else (),
        changes={} if candidate.is_reference else dict(result.changes),
        agreement_interval=None if candidate.is_reference else result.agreement,
    )


def gpu_of(candidates: Sequence[Candidate]) -> str:
    """Return the GPU that was measured on and its driver; empty if only CPUs were used."""
    names = {c.session.device_name for c in candidates if isinstance(c.session, DeviceSession)}
    version = driver() if names else ""
    return ", ".join([*sorted(names), *([f"driver {version}"] if version else [])])


def noise_warnings(rows: Sequence[Row]) -> list[str]:
    """Warn about each row whose outputs have little in common with FP32's."""
    warnings = [
        f"The outputs of {row.target} {row.precision.upper()}{f' ({row.variant})' if row.variant else ''} are noise "
        f"(SQNR {row.sqnr_db:.1f} dB): something is computed wrongly, or needs --exclude."
        for row in rows
        if row.sqnr_db is not None and -300 < row.sqnr_db < NOISE_DB
    ]
    if any(row.sqnr_db is not None and row.sqnr_db <= -300 for row in rows):
        warnings.append("Some outputs are not finite; their SQNR is given as -300 dB.")
    return warnings
