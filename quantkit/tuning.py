"""The Python API over what INT8 costs: which layers cause it, and how to get it back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from quantkit.arguments import AnyCalibration, AnyPath, Settings, path_of, preprocessing_of, recipe_of, text_of
from quantkit.config import Config, parse_config
from quantkit.core.calibration import Calibration
from quantkit.core.files import normalized
from quantkit.core.preprocess import Preprocess
from quantkit.core.progress import Progress
from quantkit.core.progress_bar import shown_or_silent
from quantkit.core.sensitivity import SENSITIVITY_SAMPLES, Sensitivity
from quantkit.core.tuning import Tuning
from quantkit.pipeline.run_files import run_config, save_sensitivity
from quantkit.pipeline.sensitivity.stage import sensitivity as run_sensitivity
from quantkit.pipeline.tuning.run import request_of
from quantkit.pipeline.tuning.run import tune as run_tuning
from quantkit.pipeline.writing import writing_results
from quantkit.targets.openvino import OpenVinoSettings
from quantkit.tasks import AUTO


def sensitivity(
    calibration: AnyCalibration,
    data: AnyPath | Iterable[Any] | None = None,
    *,
    target: str | None = None,
    samples: int = SENSITIVITY_SAMPLES,
    task: str = AUTO,
    task_head: str | None = None,
    task_output: str | None = None,
    task_axis: int | None = None,
    threshold: float | None = None,
    preprocess: str | Preprocess | None = None,
    classes: Sequence[str] | None = None,
    labels: AnyPath | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Sensitivity:
    """Measure what each layer's rounding costs: when it alone is quantized, and when all but it are.

    A calibration that lies in a run directory gets ``sensitivity.json`` there; what is measured of a changed recipe
    stays in memory.

    Args:
        calibration: The ranges, a run directory, or a :class:`Recipe`.
        data: Samples to measure on, in any form that :func:`~quantkit.api.calibrate` takes; None takes those of the
            calibration.
        target: The target whose INT8 is simulated; None takes OpenVINO if it is installed, else ONNX Runtime.
        samples: How many are used at most, by a seeded choice.
        task: "classification", "detection", "segmentation", "embedding", "regression", "ctc", "none" (fidelity alone),
            an installed one, or "auto".
        task_head: What a detector's outputs mean, such as "yolov8"; None tells it from the model.
        task_output: The output that holds class scores; None leaves it to the model.
        task_axis: Its axis along which the classes lie.
        threshold: The score above which an answer is yes, for scores of yes or no.
        preprocess: A preset's name, or what is done to images; None means what the calibration did.
        classes: Names of the outputs, in order; None means the class folders, sorted.
        labels: A CSV of file,class for a flat folder.
        settings: Settings of installed targets, by target, as in ``[targets.NAME]``.
        progress: Told how far it is; None shows a bar in a terminal or a notebook.

    Returns:
        The quantized layers, the one that loses most by itself first.

    Raises:
        BadInput: The data or a setting is wrong, or the target has nothing to simulate (TargetRefuses).
        BackendMissing: The target's library is not installed.
        NothingEvaluated: No sample could be read.
    """
    recipe = recipe_of(calibration)
    config = parse_config(
        {
            "data": {
                "classes": None if classes is None else list(classes),
                "labels": None if labels is None else normalized(Path(labels)),
                "seed": recipe.calibration.seed,
                "text": text_of(None, recipe),
            },
            "preprocess": preprocessing_of(preprocess, recipe),
            "task": {"name": task, "head": task_head, "output": task_output, "axis": task_axis, "threshold": threshold},
            "targets": settings or {},
        },
        "the arguments of sensitivity()",
    )
    given, shown = path_of(data) or data, shown_or_silent(progress)
    if recipe.calibration.folder is None or recipe.changes:
        return run_sensitivity(config, recipe, target, given, samples, shown)
    with writing_results(recipe.calibration):
        found = run_sensitivity(config, recipe, target, given, samples, shown)
        return save_sensitivity(found, recipe.calibration.folder)


def tune(
    calibration: AnyCalibration,
    data: AnyPath | Iterable[Any],
    *,
    target: str | None = None,
    max_drop: float | None = None,
    min_sqnr: float | None = None,
    min_agreement: float | None = None,
    within: str | None = None,
    max_slowdown: float | None = None,
    budget: str = "20m",
    samples: int | None = None,
    task: str = AUTO,
    task_head: str | None = None,
    task_output: str | None = None,
    task_axis: int | None = None,
    threshold: float | None = None,
    preprocess: str | Preprocess | None = None,
    classes: Sequence[str] | None = None,
    labels: AnyPath | None = None,
    batch_size: int = 1,
    device: str | None = None,
    seed: int | None = None,
    openvino: OpenVinoSettings | None = None,
    settings: Settings | None = None,
    output: AnyPath | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Tuning:
    """Make INT8 accurate enough: other ranges, corrected biases, and layers in floating point where they buy most.

    Every step is measured on the target, and taken only if it is better. The result is a run of its own, in the folder
    that the returned tuning names: ``quantkit.load_calibration(found.folder)``. At most one of the goals may be given;
    none stands for ``max_drop=0.5``, or for the next best that can be measured.

    Args:
        calibration: The calibration that is tuned, or a :class:`Recipe`. It stays as it is.
        data: 50 samples or more, in any form that :func:`~quantkit.api.calibrate` takes. Half of them, at most 500, are
            tuned on; the result is compared on the others. They are read several times: an iterator is kept in memory.
        target: The target to tune for; None takes OpenVINO if it is installed, else ONNX Runtime.
        max_drop: Goal: the main metric drops by at most so many points.
        min_sqnr: Goal: an SQNR of the worst output of at least so many dB.
        min_agreement: Goal: at least so many percent of answers equal to FP32's.
        within: Goal: a main metric so little below FP16's, such as "2%-of-fp16".
        max_slowdown: Percent that the result may be slower than the calibration's own INT8; alone, it is the goal to
            buy as many dB as it allows.
        budget: The time that may be spent on trying, such as "90s", "20m" or "1h".
        samples: How many are used at most; None means all.
        task: "classification", "detection", "segmentation", "embedding", "regression", "ctc", "none" (fidelity alone),
            an installed one, or "auto".
        task_head: What a detector's outputs mean, such as "yolov8"; None tells it from the model.
        task_output: The output that holds class scores; None leaves it to the model.
        task_axis: Its axis along which the classes lie.
        threshold: The score above which an answer is yes, for scores of yes or no.
        preprocess: A preset's name, or what is done to images; None means what the calibration did.
        classes: Names of the outputs, in order; None means the class folders, sorted.
        labels: A CSV of file,class for a flat folder.
        batch_size: The batch that latency is measured at.
        device: Where; None means the target's first.
        seed: Of the choice of samples; None means the calibration's.
        openvino: How IR is made and run.
        settings: Settings of installed targets, by target, as in ``[targets.NAME]``.
        output: The folder of the result; None is the calibration's own with ``-tuned`` behind its name.
        fresh: Use nothing that an interrupted search measured.
        progress: Told how far it is; None shows a bar in a terminal or a notebook.

    Returns:
        What was tried and chosen; ``met`` says whether the goal is met, ``obstacle`` what stands in the way.

    Raises:
        BadInput: The data, a goal or a setting is wrong, or there are too few samples.
        BackendMissing: The target's library is not installed.
    """
    recipe = recipe_of(calibration)
    if isinstance(data, Iterator):  # it could be read only once
        data = list(data)
    made, as_made = _made_with(recipe.calibration), preprocess is None and recipe.calibration.folder is not None
    config = parse_config(
        {
            **made.model_dump(include={"model", "calibrate", "export", "build", "report", "gate"}),
            "data": {
                "calibration": made.data.calibration,
                "samples": made.data.samples,
                "evaluation": path_of(data),
                "eval_samples": samples,
                "classes": None if classes is None else list(classes),
                "labels": None if labels is None else normalized(Path(labels)),
                "seed": recipe.calibration.seed if seed is None else seed,
                "text": made.data.text if as_made else text_of(None, recipe),
            },
            "preprocess": made.preprocess if as_made else preprocessing_of(preprocess, recipe),
            "task": {"name": task, "head": task_head, "output": task_output, "axis": task_axis, "threshold": threshold},
            "compare": {"batch_sizes": [batch_size], "device": device},
            "tune": {
                "target": target,
                "max_drop": max_drop,
                "min_sqnr": min_sqnr,
                "min_agreement": min_agreement,
                "within": within,
                "max_slowdown": max_slowdown,
                "budget": budget,
            },
            "openvino": openvino or OpenVinoSettings(),
            "targets": settings or {},
        },
        "the arguments of tune()",
    )
    assert config.tune is not None
    request = request_of(config.tune, None if path_of(data) is not None else data)
    config = config.model_copy(update={"tune": None})  # of this call, and not of the run that it makes
    shown = shown_or_silent(progress)
    return run_tuning(config, recipe, request, None if output is None else Path(output), shown, fresh)


def _made_with(calibration: Calibration) -> Config:
    """The settings that a calibration was made with, which those of its tuned run continue."""
    if calibration.folder is not None:
        return run_config(calibration.folder)
    own = {"method": calibration.method, "batch_size": calibration.batch_size, "exclude": list(calibration.exclude)}
    model = {"path": calibration.model.path, "batch_axis": calibration.model.batch_axis}
    return parse_config({"model": model, "calibrate": own}, "the calibration")
