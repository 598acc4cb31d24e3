"""Artifacts and labelled images in, measured rows out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.config import Config
from quantkit.core.calibration import Calibration
from quantkit.core.comparison import Comparison, Row
from quantkit.core.errors import BadInput, NothingEvaluated
from quantkit.core.progress import Progress, silent
from quantkit.core.wording import some
from quantkit.datasets import Batch, Dataset, OpenedData, Stream, open_dataset
from quantkit.datasets.open import check_label_range
from quantkit.datasets.stream import resized_batch
from quantkit.graph.model_file import ModelFile
from quantkit.measure.accuracy import class_scores
from quantkit.measure.answers import Answers
from quantkit.measure.environment import environment
from quantkit.measure.latency import rounds_for, time_sessions
from quantkit.measure.paired import Hits
from quantkit.pipeline.comparison.candidates import Candidate, candidates_of, working_targets
from quantkit.pipeline.comparison.fallbacks import fallback_warnings
from quantkit.pipeline.comparison.layer_errors import measure_layers
from quantkit.pipeline.comparison.rows import doubts_about, gpu_of, look_at, rows_of
from quantkit.pipeline.export import calibrated_model

log = logging.getLogger("quantkit")


def compare(config: Config, calibration: Calibration, artifacts: Path, progress: Progress = silent) -> Comparison:
    """Measure every configured target and precision on ``[data] evaluation``; FP32 is always among them.

    Missing artifacts are exported below ``artifacts`` first. Raises BadInput, BackendMissing when a target that was
    asked for does not work here, NothingEvaluated when there is none.
    """
    if config.data.evaluation is None:
        raise BadInput("No evaluation data is given.", "Give --data, or set [data] evaluation in quantkit.toml.")
    targets = working_targets(config)
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
    candidates = candidates_of(config, calibration, targets, artifacts, sizes, progress)

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
    readable = [index for position, index in enumerate(stream.indices) if position not in stream.skipped]
    warnings += measure_layers(candidates, calibration, model, opened.dataset, readable, step, artifacts, progress)
    rows: list[Row] = []
    for size in sizes:
        inputs = resized_batch(first.inputs, size)
        at = f" at batch {size}" if len(sizes) > 1 else ""
        with progress(f"timing{at}", rounds_for(len(candidates)), "rounds") as advance:
            timings = time_sessions([c.session for c in candidates], inputs, size, advance)
        looks = [look_at(c, t, inputs, layers=size == sizes[0]) for c, t in zip(candidates, timings, strict=True)]
        rows += rows_of(candidates, timings, looks, size, calibration.method)
    rows.sort(key=lambda row: [c.artifact.target for c in candidates].index(row.target))
    warnings += doubts_about(rows, candidates[0].accuracy.classes)
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
        environment=environment(gpu_of(candidates)),
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


def _evaluate(
    candidates: Sequence[Candidate],
    batch: Batch,
    labels: npt.NDArray[np.int64] | None,
    step: int,
    dataset: Dataset,
) -> list[tuple[Candidate, npt.NDArray[Any]]]:
    """Count one batch for every candidate; the scores of those that classify."""
    count = len(batch.indices)
    scored = []
    inputs = resized_batch(batch.inputs, step) if count < step else batch.inputs
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
