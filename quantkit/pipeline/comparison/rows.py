"""Makes rows from evaluations and timings, and warnings about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantkit.core.comparison import LayerError, Row
from quantkit.core.decibels import FAR_DB, NOISE_DB, NOT_FINITE_DB
from quantkit.core.end_to_end import EndToEnd
from quantkit.core.figures import Metric
from quantkit.core.serving import Serving
from quantkit.core.wording import some
from quantkit.gates.speed import not_faster
from quantkit.measure.disturbance import disturbance
from quantkit.measure.gpu import driver
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.pipeline.comparison.evaluate import Evaluation
from quantkit.pipeline.comparison.timing import Timed
from quantkit.reports.wording import row_name
from quantkit.targets.session import DeviceSession

MOST_DISTURBED = 2  # rows that the warning tells of
SAME_DB = 40.0  # FP32 in two runtimes differs by rounding alone, which is over 80 dB; TF32 is over 50 dB


def rows_of(
    timed: Sequence[Timed],
    evaluation: Evaluation,
    metrics: Sequence[Metric],
    layer_errors: Mapping[str, tuple[LayerError, ...]],
    end_to_end: Mapping[str, EndToEnd],
    serving: Mapping[str, Serving],
) -> list[Row]:
    """Make a row for each candidate and feed.

    Its outputs are compared with those of FP32 in onnxruntime, its speed with that of FP32 on its own target.

    Args:
        timed: The timings of all candidates.
        evaluation: The results of all candidates.
        metrics: The metrics of the task and of the user.
        layer_errors: The layers' errors by candidate key.
        end_to_end: The times from files to answers by candidate key, as far as they were measured.
        serving: What candidates give as servers, likewise.

    Returns:
        The rows, grouped by target.
    """
    fp32 = {(one.candidate.place, one.batch, one.shape): one for one in timed if one.candidate.is_reference}
    first = timed[0].batch, timed[0].shape
    rows = [
        _row(
            one,
            fp32[one.candidate.place, one.batch, one.shape],
            evaluation,
            metrics,
            *((layer_errors, end_to_end, serving) if (one.batch, one.shape) == first else ({}, {}, {})),
        )
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
    end_to_end: Mapping[str, EndToEnd],
    serving: Mapping[str, Serving],
) -> Row:
    candidate, latency = timed.candidate, timed.timing.latency
    artifact, executed = candidate.artifact, candidate.session.executed_precision
    result = evaluation.results[candidate.key]
    expected = evaluation.reference.metrics
    notes = list(artifact.notes)
    if artifact.precision == "fp16" and "f16" not in executed:
        notes.append(f"FP16 weights, computed in {executed}")
    return Row(
        target=artifact.target,
        device=candidate.device,
        precision=artifact.precision,
        variant=candidate.variant,
        batch=timed.batch,
        shape=timed.shape,
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
        speedup_interval=timed.speedup,
        rounds_ms=timed.timing.rounds,
        path=_path(candidate),
        size_bytes=artifact.size_bytes,
        notes=tuple(notes),
        latency_with_copies_ms=timed.timing.with_copies,
        latency_graph_ms=timed.timing.graph,
        gpu=timed.load,
        layers=timed.layers,
        runtime=dict(timed.runtime),
        layer_errors=layer_errors.get(candidate.key, ()),
        changes={} if candidate.is_reference else dict(result.changes),
        agreement_interval=None if candidate.is_reference else result.agreement,
        outputs=evaluation.outputs.get(candidate.key, ()),
        parts=result.parts,
        end_to_end=end_to_end.get(candidate.key),
        serving=serving.get(candidate.key),
    )


def _path(candidate: Candidate) -> str:
    """Return where the candidate's file is: see :attr:`Row.path`."""
    run, file = candidate.recipe.calibration.folder, candidate.artifact.path.absolute()
    if run is not None and file.is_relative_to(run.absolute()):
        return file.relative_to(run.absolute()).as_posix()
    return str(file) if candidate.target.is_users_own(candidate.artifact.precision) else ""


def gpu_of(candidates: Sequence[Candidate]) -> str:
    """Return the GPU that was measured on and its driver; empty if only CPUs were used."""
    names = {c.session.device_name for c in candidates if isinstance(c.session, DeviceSession)}
    version = driver() if names else ""
    return ", ".join([*sorted(names), *([f"driver {version}"] if version else [])])


def output_warnings(rows: Sequence[Row]) -> list[str]:
    """Warn about outputs and parts far from FP32's, about runtimes whose FP32 is, and about what was not compared."""
    warnings, seen = [], set()
    for row in rows:
        if row.key in seen:  # the same at every batch size
            continue
        seen.add(row.key)
        name = f"{row.target} {row.precision.upper()}{f' ({row.variant})' if row.variant else ''}"
        measured = [error for error in row.outputs if error.sqnr_db is not None and error.sqnr_db > NOT_FINITE_DB]
        limit = SAME_DB if row.is_reference else FAR_DB
        far = sorted(
            (error for error in measured if (error.sqnr_db or 0.0) < limit), key=lambda error: error.sqnr_db or 0.0
        )
        told = some([f"{error.name} {error.sqnr_db:.1f} dB" for error in far])
        if far and row.is_reference:
            warnings.append(
                f"{row.target} computes this model otherwise than onnxruntime, whose FP32 all rows are compared with "
                f"(SQNR of its own FP32: {told})."
            )
        elif far and (far[0].sqnr_db or 0.0) < NOISE_DB:
            warnings.append(
                f"The outputs of {name} are noise (SQNR {told}): something is computed wrongly, or has to be excluded."
            )
        elif far:
            warnings.append(
                f"The outputs of {name} are far from FP32's (SQNR {told}): see the layers, or exclude some."
            )
        warnings += _not_compared(row, name)
    if any(error.sqnr_db is not None and error.sqnr_db <= NOT_FINITE_DB for row in rows for error in row.outputs):
        warnings.append("Some outputs are not finite; their SQNR is given as -300 dB.")
    return warnings


def speed_warnings(rows: Sequence[Row]) -> list[str]:
    """Warn about INT8 that is not faster than FP32 of its target, and about INT8 that ran in no INT8 at all."""
    told = [(row, not_faster(row, rows)) for row in rows if row.precision == "int8"]
    return [
        *(f"{row_name(row, rows)} {slow}." for row, slow in told if slow),
        *(
            f"{row_name(row, rows)} is INT8 by name only: no layer of it ran in INT8, but in {row.executed_precision}."
            for row in rows
            if row.is_int8_by_name_only
        ),
    ]


def disturbance_warnings(rows: Sequence[Row]) -> list[str]:
    """Warn about latencies that stayed disturbed however long they were measured, and say what to do."""
    signs = [(row_name(row, rows), disturbance(row.latency_ms, row.speedup_interval)) for row in rows]
    told = [f"of {name}, {sign}" for name, sign in signs if sign]
    if not told:
        return []
    more = f"; and {len(told) - MOST_DISTURBED} more" if len(told) > MOST_DISTURBED else ""
    return [
        f"Latencies are disturbed, however long they were measured: {'; '.join(told[:MOST_DISTURBED])}{more}. "
        "Other work on this machine is the usual cause: end it and compare again, or give more rounds and seconds."
    ]


def _not_compared(row: Row, name: str) -> list[str]:
    sizes = [f"{error.output} in {error.left_out} samples" for error in row.outputs if error.left_out]
    missing = [error.output for error in row.outputs if not error.measured and not error.left_out]
    warnings = []
    if sizes:
        warnings.append(f"Outputs of {name} have another size than FP32's, and SQNR leaves them out: {some(sizes)}.")
    if missing:
        warnings.append(f"{name} has no output {some(missing)}, which is not compared.")
    return warnings
