"""The comparison stage: prepares candidates, evaluates them, times them, and makes rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from quantkit.config import Config
from quantkit.core.calibration import Calibration
from quantkit.core.comparison import Comparison
from quantkit.core.end_to_end import EndToEnd
from quantkit.core.errors import BadConfig, BadData
from quantkit.core.figures import ROW_METRICS
from quantkit.core.progress import Progress, silent
from quantkit.core.recipe import Recipe
from quantkit.core.references import load_reference
from quantkit.datasets import Batch, OpenedData, Stream, Unreadable, open_dataset
from quantkit.datasets.base import class_indices
from quantkit.datasets.images import class_folders
from quantkit.gates.recommendation_words import recommendation_of
from quantkit.graph.model_file import ModelFile
from quantkit.graph.self_description import description_of, resolved
from quantkit.measure.environment import environment
from quantkit.measure.memory import check_batches
from quantkit.pipeline.comparison.candidates import Candidate, candidates_of, working_targets
from quantkit.pipeline.comparison.delivered import delivery_warnings
from quantkit.pipeline.comparison.end_to_end import Pipeline, time_end_to_end
from quantkit.pipeline.comparison.evaluate import evaluate
from quantkit.pipeline.comparison.fallbacks import fallback_warnings
from quantkit.pipeline.comparison.feeds import Feed, check_named, common_feed, named_feed
from quantkit.pipeline.comparison.layer_errors import LayerSamples, measure_layers
from quantkit.pipeline.comparison.methods import method_names, sources_of
from quantkit.pipeline.comparison.other_batches import check_other_batches
from quantkit.pipeline.comparison.reference import Reference
from quantkit.pipeline.comparison.rows import disturbance_warnings, gpu_of, output_warnings, rows_of, speed_warnings
from quantkit.pipeline.comparison.serving import serve_candidates
from quantkit.pipeline.comparison.timing import time_candidates
from quantkit.pipeline.export import calibrated_model
from quantkit.tasks import AUTO, TASKS, Task
from quantkit.tasks.choice import choose_task
from quantkit.tasks.class_outputs import HOW_TO_SAY
from quantkit.tasks.own_metric import OwnMetric

log = logging.getLogger("quantkit")


@dataclass(frozen=True)
class FromPython:
    """Python objects that a configuration cannot name.

    Attributes:
        data: An object with samples, instead of ``[data] evaluation``.
        metrics: Metric functions, in addition to ``[task] metrics``.
    """

    data: Any = None
    metrics: Sequence[Callable[..., Any]] = ()


@dataclass(frozen=True)
class Prepared:
    """Everything that a comparison needs, opened and loaded.

    Attributes:
        model: The calibrated model.
        opened: The evaluation samples.
        task: The task.
        own_metrics: The user's own metrics.
        candidates: The loaded candidates.
        step: The batch size at which accuracy is measured.
        sizes: The batch sizes at which latency is measured.
        warnings: Warnings so far.
        shapes: The shapes at which it is measured instead, in the words of ``--shape``.
    """

    model: ModelFile
    opened: OpenedData
    task: Task
    own_metrics: tuple[OwnMetric, ...]
    candidates: Sequence[Candidate]
    step: int
    sizes: Sequence[int]
    warnings: tuple[str, ...]
    shapes: Sequence[str] = ()

    def stream(self) -> Stream:
        """Make a stream of the chosen samples."""
        return Stream(self.opened.dataset, [int(i) for i in self.opened.indices], self.model.batch_axes)

    def feeds(self, common: Batch) -> list[Feed]:
        """Return the inputs to measure latency with, made of samples of the most common shape."""
        if self.shapes:
            return [named_feed(self.model, text, common) for text in self.shapes]
        return [common_feed(self.model, common, size) for size in self.sizes]


def compare(
    config: Config, recipe: Recipe, artifacts: Path, progress: Progress = silent, given: FromPython | None = None
) -> Comparison:
    """Measure every configured target and precision on the evaluation data; FP32 is always included.

    Args:
        config: The effective configuration.
        recipe: The ranges and weights.
        artifacts: The folder of the artifacts; missing ones are exported there first.
        progress: Displays the progress.
        given: Python objects that the configuration cannot name.

    Returns:
        The comparison.

    Raises:
        BadInput: The model, the data or a setting is wrong.
        BackendMissing: A requested target does not work here.
        NothingEvaluated: There is no target or no sample to measure.
    """
    prepared = prepare(config, recipe, artifacts, progress, given or FromPython())
    stream, candidates = prepared.stream(), prepared.candidates
    reference = Reference.of(prepared.model, candidates)
    evaluation = evaluate(candidates, stream, prepared.task, prepared.own_metrics, prepared.step, progress, reference)
    samples = LayerSamples(prepared.opened.dataset, evaluation.readable, prepared.step, prepared.model.batch_axes)
    errors, unmeasured = measure_layers(candidates, prepared.model, samples, progress)
    prepared.model.check_unchanged()  # every candidate, and what layers were measured against, was read from it
    limits = config.compare.rounds, config.compare.seconds
    feeds = prepared.feeds(evaluation.common)
    others = check_other_batches(candidates, feeds, evaluation.common, reference, prepared.step, progress)
    timed = time_candidates(candidates, feeds, progress, *limits)
    servings = serve_candidates(candidates, feeds[0], config.compare.streams, progress)
    metrics = (*prepared.task.metrics, *(own.metric for own in prepared.own_metrics))
    whole: dict[str, EndToEnd] = {}
    if config.compare.end_to_end:
        pipeline = Pipeline(prepared.stream(), reference, prepared.task, prepared.step)
        timings = {one.candidate.key: one.timing for one in reversed(timed)}  # those of the first batch size
        whole = time_end_to_end(candidates, pipeline, timings, progress)
    rows = rows_of(timed, evaluation, metrics, errors, whole, servings.alone)
    rows = [others.corrected(row) for row in rows]
    warnings = [
        *prepared.warnings,
        *reference.warnings,
        *evaluation.warnings,
        *unmeasured,
        *evaluation.reference.warnings,
        *output_warnings(rows),
        *others.warnings,
        *delivery_warnings(candidates, evaluation.common, prepared.model.fixed_batch),
        *fallback_warnings(rows),
        *speed_warnings(rows),
        *servings.warnings,
        *disturbance_warnings(rows),
    ]
    for warning in warnings:
        log.warning("%s", warning)
    compared = Comparison(
        model=str(prepared.model.path),
        data=prepared.opened.location,
        data_sha256=stream.sha256(),
        samples=evaluation.samples,
        labelled=evaluation.labelled,
        method=method_names(candidates, recipe),
        rows=tuple(rows),
        environment=environment(gpu_of(candidates)),
        warnings=tuple(warnings),
        task=prepared.task.name,
        answers=prepared.task.describe_answers(),
        metrics=metrics,
        together=servings.together,
        predictions=evaluation.predictions,
    )
    run = None if recipe.changes else recipe.calibration.folder
    recommended = recommendation_of(compared.model_copy(update={"source": run}))
    return compared.model_copy(update={"recommendation": recommended})


def prepare(config: Config, recipe: Recipe, artifacts: Path, progress: Progress, given: FromPython) -> Prepared:
    """Open the model and the data, choose the task, and load every candidate; see :func:`compare`."""
    targets = working_targets(config)
    model = calibrated_model(recipe.calibration)
    opened, task = open_evaluation_data(config, model, given.data)
    opened, seen = without_tuned(opened, recipe.calibration)
    own_metrics = own_metrics_of(config, given.metrics, task)
    for note in (*opened.notes, _about_answers(config, task)):
        log.info("%s", note)
    warnings = [*opened.warnings, *seen]
    if config.task.name == AUTO and task.name == "none" and class_indices(opened.dataset.annotations) is not None:
        warnings.append(f"The labels are not used, for no output is known to hold class scores. {HOW_TO_SAY}.")
    if recipe.changes:
        warnings.append(f"INT8 was made from a recipe that differs from the calibration: {recipe.changes}.")
    if opened.dataset.preprocess != recipe.preprocess:
        warnings.append("Samples are preprocessed otherwise here than they were for the calibration.")
    if model.fixed_batch and any(size not in (1, model.fixed_batch) for size in config.compare.batch_sizes):
        warnings.append(f"The model's batch size is fixed at {model.fixed_batch}; latency is measured at that.")
    sizes = [model.fixed_batch] if model.fixed_batch else list(dict.fromkeys(config.compare.batch_sizes))
    indices, shapes = [int(i) for i in opened.indices], list(dict.fromkeys(config.compare.shapes))
    if shapes:
        sample = next(Stream(opened.dataset, indices, model.batch_axes).batches(1), None)
        sizes = check_named(model, shapes, sample)
    check_batches(opened.dataset, indices, sizes)
    return Prepared(
        model=model,
        opened=opened,
        task=task,
        own_metrics=own_metrics,
        candidates=candidates_of(config, sources_of(config, recipe, artifacts), targets, sizes, progress),
        step=model.fixed_batch or 1,  # the batch may be declared dynamic but fixed inside the graph
        sizes=sizes,
        warnings=tuple(warnings),
        shapes=shapes,
    )


def without_tuned(opened: OpenedData, calibration: Calibration) -> tuple[OpenedData, list[str]]:
    """Leave out the samples that the run was tuned on, and say so. Raises BadData if none is left."""
    tuned = calibration.tuned
    if tuned is None:
        return opened, []
    digests, sizes, data = set(tuned.samples), set(tuned.sizes), opened.dataset

    def is_new(index: int) -> bool:
        try:
            return data.size(index) not in sizes or data.digest(index).hex() not in digests
        except Unreadable:  # it is skipped later
            return True

    kept = [int(index) for index in opened.indices if is_new(int(index))]
    if not kept:
        raise BadData(f"The run was tuned on all samples of {opened.location}.", "Give others (--data, data=).")
    left = len(opened.indices) - len(kept)
    said = [f"The run was tuned on {left} of these samples, which are left out."] if left else []
    return replace(opened, indices=np.array(kept, dtype=np.int64)), said


def own_metrics_of(config: Config, functions: Sequence[Callable[..., Any]], task: Task) -> tuple[OwnMetric, ...]:
    """Load the user's own metrics: those of the configuration, then ``functions``.

    Args:
        config: The effective configuration.
        functions: Functions that a program passes.
        task: The task, whose metrics' names are taken.

    Raises:
        BadConfig: A metric does not load, or its name stands for another already.
    """
    own = tuple(
        OwnMetric.of(one) for one in (*(load_reference(text, "metric") for text in config.task.metrics), *functions)
    )
    names = [*ROW_METRICS, *(metric.name for metric in task.metrics), *(one.metric.name for one in own)]
    for one in own:
        if names.count(one.metric.name) > 1:
            raise BadConfig(f"There are two metrics called {one.metric.name!r}.", "Give your function another name.")
    return own


def open_evaluation_data(config: Config, model: ModelFile, data: Any = None) -> tuple[OpenedData, Task]:
    """Open the evaluation data, choose the task, and check the annotations against the model's outputs.

    Args:
        config: The effective configuration.
        model: The model.
        data: A Python object with samples, instead of ``[data] evaluation``.

    Returns:
        The chosen samples, and the task.

    Raises:
        BadData: There is no data, or it does not fit the model.
        BadConfig: There is no such task, or what is said of its answers does not fit the model.
    """
    data = config.data.evaluation if data is None else data
    if data is None:
        raise BadData(
            "No evaluation data is given.", "Give it (--data, data=), or set [data] evaluation in quantkit.toml."
        )
    opened = open_dataset(
        data,
        model.inputs,
        resolved(config.preprocess, model)[0],
        config.data.eval_samples,
        config.data.seed,
        config.class_names() or _said_classes(model, data),
        config.data.labels,
        [output.name for output in model.outputs],
        config.data.text.beside(model.path),
        config.task.name in TASKS and TASKS[config.task.name].annotated_by_text,
        task=config.task.name,
    )
    return opened, choose_task(config.task.name, config.task, model, opened.dataset)


def _said_classes(model: ModelFile, data: Any) -> list[str] | None:
    """Return the classes that the model names, in its order, if the data's class folders have such names; else None."""
    described = description_of(model)
    if described is None or not described.classes or not isinstance(data, Path) or not data.is_dir():
        return None
    folders = class_folders(data)
    if not folders or not folders <= set(described.classes):
        return None
    log.info("The classes are in the order that the model says, in %s.", described.source)
    return list(described.classes)


def _about_answers(config: Config, task: Task) -> str:
    """Say what decides about the answers that are compared."""
    if config.task.name == AUTO and task.name == "none":
        return f"No agreement is measured, for no output is known to hold answers. {HOW_TO_SAY}."
    return task.about
