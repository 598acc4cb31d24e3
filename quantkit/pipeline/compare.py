"""Artifacts and labelled images in, measured rows out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.config import Config
from quantkit.core.artifact import Artifact
from quantkit.core.calibration import Calibration
from quantkit.core.comparison import Comparison, GpuLoad, Interval, LayerTime, Row, model_key
from quantkit.core.errors import BackendMissing, BadInput, NothingEvaluated, TargetRefuses
from quantkit.core.progress import Progress, silent
from quantkit.core.wording import some
from quantkit.datasets import Batch, Dataset, OpenedData, Stream, open_dataset
from quantkit.datasets.open import check_label_range
from quantkit.measure.accuracy import Accuracy, class_scores
from quantkit.measure.answers import Answers
from quantkit.measure.environment import environment
from quantkit.measure.fidelity import Fidelity
from quantkit.measure.gpu import driver, under_load
from quantkit.measure.latency import Timing, rounds_for, time_sessions
from quantkit.measure.paired import Hits, Paired
from quantkit.model.file import ModelFile
from quantkit.pipeline.build import build_engines
from quantkit.pipeline.export import calibrated_model, export
from quantkit.pipeline.fallbacks import fallback_warnings
from quantkit.targets import Session, Target, all_targets, targets_named
from quantkit.targets.base import DeviceSession, TimedSession
from quantkit.targets.tensorrt import TensorRT

log = logging.getLogger("quantkit")
LAYER_REPEATS = 20  # a mean of so many for each layer
NOISE_DB = 3.0  # outputs of a lower SQNR have little to do with FP32's
NEAR_CHANCE = 2.0  # FP32 accuracy below this many times chance: the preprocessing is probably wrong


@dataclass
class _Candidate:
    """One target and precision on the way to its rows."""

    artifact: Artifact
    session: Session
    device: str
    accuracy: Accuracy = field(default_factory=Accuracy)
    fidelity: Fidelity = field(default_factory=Fidelity)
    paired: Paired = field(default_factory=Paired)

    def key(self, method: str) -> str:
        """That of its rows."""
        return model_key(self.artifact.target, self.device, self.artifact.precision, _variant(self.artifact, method))


def compare(config: Config, calibration: Calibration, artifacts: Path, progress: Progress = silent) -> Comparison:
    """Measure every configured target and precision on ``[data] evaluation``; FP32 is always among them.

    Missing artifacts are exported below ``artifacts`` first. Raises BadInput, BackendMissing when a target that was
    asked for does not work here, NothingEvaluated when there is none.
    """
    if config.data.evaluation is None:
        raise BadInput("No evaluation data is given.", "Give --data, or set [data] evaluation in quantkit.toml.")
    targets = _working_targets(config)
    model = calibrated_model(calibration)
    opened = open_evaluation_data(config, model)
    for note in opened.notes:
        log.info("%s", note)
    warnings = list(opened.warnings)
    if opened.dataset.preprocess != calibration.preprocess:
        warnings.append("Images are preprocessed otherwise here than they were for the calibration.")
    if model.fixed_batch and any(size not in (1, model.fixed_batch) for size in config.compare.batch_sizes):
        warnings.append(f"The model's batch size is fixed at {model.fixed_batch}; latency is measured at that.")
    sizes = [model.fixed_batch] if model.fixed_batch else list(dict.fromkeys(config.compare.batch_sizes))
    candidates = _candidates(config, calibration, targets, artifacts, sizes, progress)

    stream = Stream(opened.dataset, [int(i) for i in opened.indices])
    labels = opened.dataset.labels
    step = model.fixed_batch or 1  # a batch declared dynamic is not always one inside the graph
    first: Batch | None = None
    samples = labelled = 0
    answers = Answers()
    with progress("evaluating", len(stream.indices), "images") as advance:
        for batch in stream.batches(step):
            first = first or batch
            count = len(batch.indices)
            own = labels[batch.indices] if labels is not None else None
            scores = _evaluate(candidates, batch, own, step, opened.dataset)
            answers.see(batch.indices if scores else ())
            for candidate, found in scores:
                answers.update(candidate.key(calibration.method), found)
            samples += count
            labelled += int((labels[batch.indices] >= 0).sum()) if labels is not None else 0
            advance(count)
    if first is None:
        raise NothingEvaluated(f"No sample of {opened.dataset.source} could be evaluated.", "Check the files.")
    if stream.skipped:
        warnings.append(
            f"{len(stream.skipped)} images could not be read and were skipped: "
            + some([f"{stream.names[position]} ({why})" for position, why in stream.skipped.items()])
        )
    rows: list[Row] = []
    for size in sizes:
        inputs = _resized_batch(first.inputs, size)
        at = f" at batch {size}" if len(sizes) > 1 else ""
        with progress(f"timing{at}", rounds_for(len(candidates)), "rounds") as advance:
            timings = time_sessions([c.session for c in candidates], inputs, size, advance)
        looks = [_look(c, t, inputs, layers=size == sizes[0]) for c, t in zip(candidates, timings, strict=True)]
        rows += _rows(candidates, timings, looks, size, calibration.method)
    rows.sort(key=lambda row: [c.artifact.target for c in candidates].index(row.target))
    warnings += _doubts(rows, candidates[0].accuracy.classes)
    warnings += fallback_warnings(rows)
    for warning in warnings:
        log.warning("%s", warning)
    comparison = Comparison(
        model=str(model.path),
        data=str(Path(opened.dataset.source).absolute()),
        data_sha256=stream.sha256(),
        samples=samples,
        labelled=labelled if candidates[0].accuracy.metrics() else 0,
        method=calibration.method,
        rows=tuple(rows),
        environment=environment(_gpu(candidates)),
        warnings=tuple(warnings),
    )
    return comparison.attach(answers.predictions(stream.dataset.names, opened.dataset.classes, labels))


def open_evaluation_data(config: Config, model: ModelFile) -> OpenedData:
    """The evaluation samples, their labels checked against the model's outputs. Raises BadInput."""
    assert config.data.evaluation is not None
    classes = config.class_names()
    opened = open_dataset(
        config.data.evaluation,
        model.inputs,
        config.preprocess,
        config.data.eval_samples,
        config.data.seed,
        classes,
        config.data.labels,
    )
    count = _class_count(model)
    labels = opened.dataset.labels
    if labels is not None and count is not None:
        check_classes(opened.dataset, labels, count)
    return opened


def check_classes(dataset: Dataset, labels: npt.NDArray[np.int64], count: int) -> None:
    """Raise BadInput when classes or labels do not fit a model that scores ``count`` classes."""
    named = len(dataset.classes)
    if named and named != count:
        raise BadInput(
            f"{dataset.source} has {named} classes, but the model has {count} outputs.",
            "Name the outputs' classes in order in [data] classes, or check that this is the right model.",
        )
    check_label_range(labels[labels >= 0], count, dataset.source)


def _class_count(model: ModelFile) -> int | None:
    """How many classes the first output scores; None when it is no classification, or its shape does not say."""
    _, *rest = model.outputs[0].shape or ("",)
    count = rest[0] if rest and all(dimension == 1 for dimension in rest[1:]) else None
    return count if isinstance(count, int) and count >= 2 else None


def _working_targets(config: Config) -> list[Target]:
    """The targets asked for, or all that work here."""
    asked = targets_named(config.compare.targets, config.export.tensorrt, config.openvino)
    for target in asked:
        availability = target.availability()
        if not availability.works:
            raise BackendMissing(f"{target.name} cannot be measured here: {availability.reason}.", availability.mend)
    every = all_targets(config.export.tensorrt, config.openvino)
    return asked or [target for target in every.values() if target.availability().works]


def _candidates(
    config: Config,
    calibration: Calibration,
    targets: Sequence[Target],
    artifacts: Path,
    sizes: Sequence[int],
    progress: Progress,
) -> list[_Candidate]:
    """Every target's artifacts, exported or built, and loaded on its device; FP32 is always among them.

    A target that was not asked for and cannot run the model is left out.
    """
    lenient = not config.compare.targets
    precisions = list(dict.fromkeys(("fp32", *config.compare.precisions)))
    candidates: list[_Candidate] = []
    for target in targets:
        device = config.compare.device or target.devices()[0]
        if isinstance(target, TensorRT) and lenient and device not in target.devices():
            continue  # --device names one of the others'
        if isinstance(target, TensorRT):
            batches = list(dict.fromkeys((1, *sizes)))  # accuracy is measured one by one
            made = []
            for precision in precisions:
                try:
                    built = build_engines(
                        config, calibration, artifacts, [precision], device, batches, progress=progress
                    )
                    made += [engine.artifact for engine in built]
                except (BadInput, BackendMissing) as refusal:
                    if not lenient:
                        raise
                    log.warning("No %s engine for %s: %s", precision, target.name, refusal)
        else:
            own = [precision for precision in precisions if precision in target.precisions]
            made = export(calibration, [target], own, artifacts, progress, lenient=lenient)
        candidates += _loaded(target, made, device, lenient)
    if not candidates:
        raise NothingEvaluated("No target here can run the model.", "See the warnings above; name one with --target.")
    return candidates


def _loaded(target: Target, artifacts: Sequence[Artifact], device: str, lenient: bool) -> list[_Candidate]:
    """Those that load; none where FP32, which the others are compared with, does not."""
    candidates: list[_Candidate] = []
    for artifact in artifacts:
        try:
            candidates.append(_Candidate(artifact, target.load(artifact, device), device))
        except (TargetRefuses, BackendMissing) as refusal:
            if not lenient or (isinstance(refusal, BackendMissing) and not isinstance(target, TensorRT)):
                raise
            log.warning("No %s on %s: %s", artifact.precision, target.name, refusal)
    return candidates if any(c.artifact.precision == "fp32" for c in candidates) else []


@dataclass(frozen=True)
class _Look:
    """What only some sessions tell: a GPU's load, layer times, how the runtime runs it."""

    load: GpuLoad | None = None
    layers: tuple[LayerTime, ...] = ()
    runtime: dict[str, str] = field(default_factory=dict)


def _look(candidate: _Candidate, timing: Timing, inputs: Mapping[str, npt.NDArray[Any]], layers: bool) -> _Look:
    """All that the session tells; layer times where asked for."""
    session = candidate.session
    if isinstance(session, DeviceSession):
        load = under_load(session, inputs, timing.latency.p50)
        return _Look(load, session.layer_times(inputs, LAYER_REPEATS) if layers else ())
    if isinstance(session, TimedSession):
        return _Look(None, session.layer_times(inputs, LAYER_REPEATS) if layers else (), session.runtime)
    return _Look()


def _gpu(candidates: Sequence[_Candidate]) -> str:
    """The GPU that was measured on and its driver; empty where it was CPUs alone."""
    names = {c.session.device_name for c in candidates if isinstance(c.session, DeviceSession)}
    version = driver() if names else ""
    return ", ".join([*sorted(names), *([f"driver {version}"] if version else [])])


def _evaluate(
    candidates: Sequence[_Candidate],
    batch: Batch,
    labels: npt.NDArray[np.int64] | None,
    step: int,
    dataset: Dataset,
) -> list[tuple[_Candidate, npt.NDArray[Any]]]:
    """Count one batch for every candidate; the scores of those that classify."""
    count = len(batch.indices)
    scored = []
    inputs = _resized_batch(batch.inputs, step) if count < step else batch.inputs
    references = {}
    right: dict[str, Hits] = {}
    for candidate in candidates:
        outputs = {
            name: _by_sample(name, output, step)[:count] for name, output in candidate.session.infer(inputs).items()
        }
        if candidate.artifact.precision == "fp32":
            references[candidate.artifact.target] = outputs
        candidate.fidelity.update(references[candidate.artifact.target], outputs)
        scores = class_scores(next(iter(outputs.values())))
        if scores is not None:
            scored.append((candidate, scores))
            if labels is not None:
                check_classes(dataset, labels, scores.shape[1])
                hits = candidate.accuracy.update(scores, labels)
                if candidate.artifact.precision == "fp32":
                    right[candidate.artifact.target] = hits
                candidate.paired.update(right[candidate.artifact.target], hits)
    return scored


def _by_sample(name: str, output: npt.NDArray[Any], step: int) -> npt.NDArray[Any]:
    """An output with samples along its first dimension, of which ``step`` were fed."""
    if output.ndim and len(output) == step:
        return output
    if step == 1:
        return output[None]
    raise BadInput(
        f"The model's output {name!r} has shape {output.shape}, not one row for each of {step} samples.",
        "Export the model with a dynamic batch, or a batch of 1.",
    )


def _resized_batch(inputs: dict[str, npt.NDArray[np.generic]], size: int) -> dict[str, npt.NDArray[np.generic]]:
    """The same samples, repeated or cut to ``size``."""
    return {name: np.ascontiguousarray(np.resize(array, (size, *array.shape[1:]))) for name, array in inputs.items()}


def _rows(
    candidates: Sequence[_Candidate], timings: Sequence[Timing], looks: Sequence[_Look], batch: int, method: str
) -> list[Row]:
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
                variant=_variant(artifact, method),
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
                gpu=look.load,
                layers=look.layers,
                runtime=look.runtime,
                changes={} if artifact.precision == "fp32" else candidate.paired.changes(),
                agreement_interval=None if artifact.precision == "fp32" else candidate.fidelity.agreement_interval,
            )
        )
    return rows


def _variant(artifact: Artifact, method: str) -> str:
    return ", ".join(filter(None, (method, artifact.variant))) if artifact.precision == "int8" else ""


def _doubts(rows: Sequence[Row], count: int) -> list[str]:
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
