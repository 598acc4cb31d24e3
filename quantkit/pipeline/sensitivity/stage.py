"""The sensitivity stage: quantizes each layer alone, and all but each, and measures what that costs."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from quantkit.config import Config
from quantkit.core.decibels import NOT_FINITE_DB
from quantkit.core.errors import BackendMissing, BadData
from quantkit.core.progress import Progress, silent
from quantkit.core.recipe import Recipe
from quantkit.core.sensitivity import SENSITIVITY_SAMPLES, LayerSensitivity, Loss, Sensitivity
from quantkit.datasets import OpenedData, Stream, open_dataset
from quantkit.graph.model_file import ModelFile
from quantkit.graph.self_description import resolved
from quantkit.measure.environment import environment
from quantkit.pipeline.export import calibrated_model
from quantkit.pipeline.sensitivity.losses import Losses
from quantkit.pipeline.simulation.evaluate import Case, evaluate_cases
from quantkit.pipeline.simulation.simulation import Simulation, Variant
from quantkit.targets import Target, all_targets, targets_named
from quantkit.tasks import Task
from quantkit.tasks.choice import choose_task

log = logging.getLogger("quantkit")
DEFAULT_TARGETS = ("openvino", "onnxruntime")  # the first that works, if the run names none


def sensitivity(
    config: Config,
    recipe: Recipe,
    target: str | None = None,
    data: Any = None,
    samples: int | None = None,
    progress: Progress = silent,
) -> Sensitivity:
    """Measure what each layer's rounding costs.

    Args:
        config: The effective configuration; of it the preprocessing, the task, the targets and their settings, the
            classes and the seed are used.
        recipe: The ranges, exclusions and weights.
        target: The target to simulate; None takes the first of the configuration that works, else OpenVINO if it is
            installed, else ONNX Runtime.
        data: The samples, as a path or a Python object; None takes those of the calibration.
        samples: The largest number of samples; None means 100.
        progress: Displays the progress.

    Returns:
        The layers, the one that loses most by itself first.

    Raises:
        BadInput: The model, the data or a setting is wrong, or the target has nothing to simulate (TargetRefuses).
        BackendMissing: The target's library is not installed.
        NothingEvaluated: No sample can be read.
    """
    begun = time.monotonic()
    chosen = simulated_target(config, target)
    model = calibrated_model(recipe.calibration)
    opened = open_samples(config, recipe, model, data, samples)
    task, notes = _task(config, model, opened)
    simulation = Simulation.of(model, recipe, chosen)
    log.info("%s: %d quantized layers, one by one.", chosen.name, len(simulation.units))
    numbers = range(len(simulation.units))
    cases = [Case(True), *(Case(q, Variant(frozenset({n}))) for q in (False, True) for n in numbers)]
    stream = Stream(opened.dataset, [int(index) for index in opened.indices], model.batch_axes)
    losses = Losses(len(cases), model, opened.dataset, task)
    count = evaluate_cases(simulation, cases, stream, model, losses.take, progress)
    model.check_unchanged()
    whole, *each = losses.losses()
    layers = [
        LayerSensitivity(
            name=unit.name,
            kind=unit.kind,
            tensor=unit.tensor,
            place=number + 1,
            only=each[number],
            all_but=each[len(numbers) + number],
            gain_db=_gain(whole, each[len(numbers) + number]),
        )
        for number, unit in enumerate(simulation.units)
    ]
    warnings = (*opened.warnings, *notes)
    for warning in warnings:
        log.warning("%s", warning)
    return Sensitivity(
        model=str(model.path),
        recipe=recipe.digest(quantized=True),
        target=chosen.name,
        data=opened.location,
        data_sha256=stream.sha256(),
        samples=count,
        labelled=_labelled(stream) if whole.drop else 0,
        task=task.name,
        metrics=task.metrics,
        floating=losses.floating(),
        int8=whole,
        layers=tuple(sorted(layers, key=lambda layer: _harm(layer.only))),
        seconds=round(time.monotonic() - begun, 3),
        environment=environment(),
        warnings=warnings,
    )


def simulated_target(config: Config, name: str | None) -> Target:
    """Return the target to simulate; see :func:`sensitivity`. Raises BadConfig and BackendMissing."""
    settings = config.target_settings()
    if name is not None:
        target = targets_named([name], settings)[0]
        if not target.can_export():
            state = target.availability()
            raise BackendMissing(f"{name} cannot be simulated here: {state.reason}.", state.hint)
        return target
    every = all_targets(settings)
    wanted = [*targets_named(config.compare.targets, settings), *(every[own] for own in DEFAULT_TARGETS)]
    return next(target for target in wanted if target.can_export())


def open_samples(
    config: Config, recipe: Recipe, model: ModelFile, data: Any = None, samples: int | None = None
) -> OpenedData:
    """Open the samples to measure on: a seeded choice of ``data``, or of the calibration's own.

    Raises BadData if they are missing, or do not fit the model.
    """
    calibration, labels = recipe.calibration, config.data.labels
    wanted = samples or SENSITIVITY_SAMPLES
    if data is None:
        data, labels = Path(calibration.data.path), None
        if not calibration.data.path or not data.exists():
            raise BadData(
                f"The calibration's data ({calibration.data.path or 'samples of a program'}) is not there.",
                "Give other samples (--data, data=).",
            )
        wanted = samples or min(SENSITIVITY_SAMPLES, max(calibration.samples, 1))
    return open_dataset(
        data,
        model.inputs,
        resolved(config.preprocess, model)[0],
        wanted,
        config.data.seed,
        config.class_names(),
        labels,
        [output.name for output in model.outputs],
        config.data.text.beside(model.path),
    )


def _task(config: Config, model: ModelFile, opened: OpenedData) -> tuple[Task, tuple[str, ...]]:
    """Choose the task, and say what cannot be measured without labels."""
    task = choose_task(config.task.name, config.task, model, opened.dataset)
    if opened.dataset.annotations is None and any(not metric.of_fp32 for metric in task.metrics):
        return task, ("The samples have no labels: layers are judged by SQNR and agreement with FP32.",)
    return task, ()


def _labelled(stream: Stream) -> int:
    """Return how many of the samples that could be read have an annotation."""
    known = stream.dataset.annotations or []
    read = [index for position, index in enumerate(stream.indices) if position not in stream.skipped]
    return sum(known[index] is not None for index in read) if known else 0


def _gain(whole: Loss, without: Loss) -> float | None:
    if whole.sqnr_db is None or without.sqnr_db is None:
        return None
    return without.sqnr_db - whole.sqnr_db


def _harm(loss: Loss) -> float:
    """Return a number that is lower for a layer that loses more."""
    return float("inf") if loss.sqnr_db is None else max(loss.sqnr_db, NOT_FINITE_DB)
