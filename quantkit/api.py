"""The Python API: what each verb of the command line does, as plain functions over values and paths."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from quantkit.arguments import (
    AnyCalibration,
    AnyModel,
    AnyPath,
    Metric,
    Names,
    Settings,
    method_of,
    model_of,
    path_of,
    preprocessing_of,
    recipe_of,
    several,
    text_of,
)
from quantkit.calibrators.percentile import DEFAULT_PERCENTILE
from quantkit.calibrators.solve import Calibrator
from quantkit.config import DEFAULT_METHOD, DEFAULT_SAMPLES, Config, parse_config
from quantkit.config_files import load_config
from quantkit.core.artifact import PRECISIONS
from quantkit.core.calibration import Calibration
from quantkit.core.comparison import Comparison
from quantkit.core.files import normalized
from quantkit.core.preprocess import Preprocess
from quantkit.core.presets import DEFAULT_PRESET, preset
from quantkit.core.progress import Progress
from quantkit.core.progress_bar import shown_or_silent
from quantkit.datasets.text_settings import TextSettings
from quantkit.measure.latency import ROUNDS, SECONDS
from quantkit.pipeline import run_files
from quantkit.pipeline.calibration.shards import merge as merge_parts
from quantkit.pipeline.calibration.stage import calibrate as run_calibration
from quantkit.pipeline.comparison.stage import FromPython
from quantkit.pipeline.comparison.stage import compare as run_comparison
from quantkit.pipeline.run import Outcome, run_all
from quantkit.pipeline.run_directory import ARTIFACTS
from quantkit.pipeline.writing import writing_results
from quantkit.targets.openvino import OpenVinoSettings
from quantkit.tasks import AUTO


def calibrate(
    model: AnyModel,
    data: AnyPath | Iterable[Any],
    *,
    batch_axis: int | str | Mapping[str, int | str] | None = None,
    method: str | Calibrator = DEFAULT_METHOD,
    percentile: float = DEFAULT_PERCENTILE,
    samples: int = DEFAULT_SAMPLES,
    batch_size: int = 1,
    preprocess: str | Preprocess = DEFAULT_PRESET,
    text: TextSettings | None = None,
    tensors: str = "all",
    rounding: str = "least-squares",
    exclude: Names = (),
    seed: int = 0,
    select: str | None = None,
    device: str = "cpu",
    output: AnyPath | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Calibration:
    """Find the range of every float activation of an ONNX model.

    Args:
        model: The ONNX file, or an ``onnx.ModelProto``, of which a run directory keeps a copy.
        data: A folder of images (in class folders or flat), a text file that lists them, an .npy or an .npz; or
            samples of your own: a NumPy array, a dict of arrays by input name, or an iterable of arrays, dicts or
            (inputs, label) pairs, such as a list, a generator, a torch DataLoader or a Hugging Face Dataset.
        batch_axis: The axis of the inputs along which samples are stacked, "none" if a run takes exactly one sample, or
            these by input; None infers it from the model.
        method: "mse-robust", "entropy", "percentile", "minmax", any other of ``docs/calibrators.md``, or a function of
            your own: itself, or as ``file.py:function``.
        percentile: Percent of the values that the percentile methods keep.
        samples: How many are used at most. An iterable is read from its start; of files and arrays a seeded choice is
            made.
        batch_size: How many first samples fix the histograms' bin widths, as TensorRT's batch does.
        preprocess: A preset's name, or what is done to images.
        text: How texts are read and tokenized; None means columns of the usual names and the tokenizer beside the
            model.
        tensors: "all", or "quantizable" to leave out those that no Q/DQ or IR quantizes.
        rounding: Of weights: "least-squares", by the second moments of layers' inputs, or "nearest".
        exclude: Wildcards for nodes and tensors to leave in floating point.
        seed: Of the choice of samples.
        select: "random", "balanced" or "diverse"; None is balanced, but an ordered source is read from its start.
        device: Where the model runs and its activations are counted: "cpu", or a GPU such as "cuda:0".
        output: A run directory to keep the result in; what it holds of the same work is used again. None keeps
            everything in memory.
        fresh: Use nothing that an earlier run left.
        progress: Told how far it is; None shows a bar in a terminal or a notebook.

    Returns:
        The ranges, and the histograms that they come from.

    Raises:
        BadInput: The model, the data or a setting is wrong; a subclass says which.
        BackendMissing: The GPU that is asked for, or what using it needs, is not there.
    """
    config = parse_config(
        {
            "model": {
                "path": model_of(model, output),
                "batch_axis": dict(batch_axis) if isinstance(batch_axis, Mapping) else batch_axis,
            },
            "data": {
                "calibration": path_of(data),
                "samples": samples,
                "seed": seed,
                "select": select,
                "text": text or TextSettings(),
            },
            "preprocess": preset(preprocess) if isinstance(preprocess, str) else preprocess,
            "calibrate": {
                "method": method_of(method),
                "percentile": percentile,
                "batch_size": batch_size,
                "tensors": tensors,
                "rounding": rounding,
                "exclude": several(exclude),
                "device": device,
            },
        },
        "the arguments of calibrate()",
    )
    folder = None if output is None else Path(output)
    given = None if path_of(data) is not None else data
    return run_calibration(
        config, folder, in_memory=folder is None, fresh=fresh, progress=shown_or_silent(progress), data=given
    )


def merge(parts: AnyPath | Sequence[AnyPath], output: AnyPath | None = None) -> Calibration:
    """Make one calibration of shards, to the bit of every count what one machine would have made.

    Args:
        parts: The shards' folders, as ``quantkit calibrate --shard`` writes them.
        output: The run directory; None picks a new one under ``runs/``.

    Returns:
        The calibration of the whole set.

    Raises:
        BadInput: A part is missing, damaged or of other work.
    """
    folders = [parts] if isinstance(parts, (str, PathLike)) else parts
    calibration, _ = merge_parts([Path(part) for part in folders], None if output is None else Path(output))
    return calibration


def compare(
    calibration: AnyCalibration,
    data: AnyPath | Iterable[Any],
    *,
    task: str = AUTO,
    task_head: str | None = None,
    task_output: str | None = None,
    task_axis: int | None = None,
    threshold: float | None = None,
    metrics: Metric | Sequence[Metric] = (),
    targets: Names = (),
    precisions: Names = PRECISIONS,
    methods: Names = (),
    samples: int | None = None,
    preprocess: str | Preprocess | None = None,
    text: TextSettings | None = None,
    classes: Sequence[str] | None = None,
    labels: AnyPath | None = None,
    batch_sizes: Sequence[int] = (1,),
    shapes: Names = (),
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    end_to_end: bool = False,
    device: Names = (),
    streams: Sequence[int] = (),
    plugins: Sequence[AnyPath] = (),
    openvino: OpenVinoSettings | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Measure quality, fidelity and latency of each precision on each target, on this machine.

    FP32 is always measured, as the reference. A calibration that lies in a run directory gets its artifacts and
    ``comparison.json`` there; what is measured of a changed recipe stays in memory, with a warning that says so.

    Args:
        calibration: The ranges, a run directory, or a :class:`Recipe`.
        data: Samples to evaluate on, in any form that :func:`calibrate` takes.
        task: "classification", "detection", "segmentation", "embedding", "regression", "ctc", "none" (fidelity alone),
            an installed one, or "auto".
        task_head: What a detector's outputs mean, such as "yolov8"; None tells it from the model.
        task_output: The output that holds class scores; None leaves it to the model.
        task_axis: Its axis along which the classes lie.
        threshold: The score above which an answer is yes, for scores of yes or no.
        metrics: Metrics of your own; see ``docs/tasks.md``.
        targets: Names; none means all that work here.
        precisions: "fp32", "fp16" or "int8".
        methods: Calibration methods whose INT8 is measured side by side, all solved from the same histograms; none
            means the calibration's own.
        samples: How many are used at most; None means all.
        preprocess: A preset's name, or what is done to images; None means what the calibration did.
        text: How texts are read and tokenized; None means columns of the usual names, tokenized as for the calibration.
        classes: Names of the outputs, in order; None means the class folders, sorted.
        labels: A CSV of file,class for a flat folder, or a COCO file for its images.
        batch_sizes: Those that latency is measured at.
        shapes: Shapes that latency is measured at instead, batch included, such as ``"input_ids=1x64"``.
        rounds: The rounds that latency is measured in, alternating between models.
        seconds: What latency may take for each model and batch size; a model that is too slow for it is run three
            times.
        end_to_end: Time the way from files to answers, too: decoding, preprocessing, the network, answers.
        device: One or several, with rows for each; none means each target's first.
        plugins: Libraries of TensorRT plugins for operators of your own.
        streams: The numbers of requests under way with which each model is measured as a server; none measures that.
        openvino: How IR is made and run; of several placements in it each is measured.
        settings: Settings of installed targets, by target, as in ``[targets.NAME]``.
        progress: Told how far it is; None shows a bar in a terminal or a notebook.

    Returns:
        A row for each target, precision and batch size.

    Raises:
        BadInput: The data or a setting is wrong, or does not fit the model.
        BackendMissing: A target that was asked for does not work here.
        NothingEvaluated: No sample could be read.
    """
    recipe, own = recipe_of(calibration), [metrics] if isinstance(metrics, str) or callable(metrics) else list(metrics)
    config = parse_config(
        {
            "data": {
                "evaluation": path_of(data),
                "eval_samples": samples,
                "classes": None if classes is None else list(classes),
                "labels": None if labels is None else normalized(Path(labels)),
                "seed": recipe.calibration.seed,
                "text": text_of(text, recipe),
            },
            "preprocess": preprocessing_of(preprocess, recipe),
            "task": {
                "name": task,
                "head": task_head,
                "output": task_output,
                "axis": task_axis,
                "threshold": threshold,
                "metrics": [metric for metric in own if isinstance(metric, str)],
            },
            "compare": {
                "targets": several(targets),
                "precisions": several(precisions),
                "batch_sizes": list(batch_sizes),
                "shapes": several(shapes),
                "rounds": rounds,
                "seconds": seconds,
                "end_to_end": end_to_end,
                "methods": several(methods),
                "device": several(device),
                "streams": list(streams),
            },
            "build": {"plugins": [normalized(Path(file)) for file in plugins]},
            "openvino": openvino or OpenVinoSettings(),
            "targets": settings or {},
        },
        "the arguments of compare()",
    )
    given = FromPython(
        data=None if path_of(data) is not None else data,
        metrics=[metric for metric in own if not isinstance(metric, str)],
    )
    folder = recipe.calibration.folder
    if folder is not None and not recipe.changes:
        with writing_results(recipe.calibration):
            comparison = run_comparison(config, recipe, folder / ARTIFACTS, shown_or_silent(progress), given)
            return run_files.save_comparison(comparison, folder)
    with tempfile.TemporaryDirectory(prefix="quantkit-") as temporary:
        return run_comparison(config, recipe, Path(temporary), shown_or_silent(progress), given)


def run(
    config: AnyPath | Config,
    *,
    output: AnyPath | None = None,
    baseline: Comparison | AnyPath | None = None,
    baseline_optional: bool = False,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Do all of it: calibrate, export, compare, tune if there is a ``[tune]``, report, gate.

    Args:
        config: A ``quantkit.toml``, or a ``pyproject.toml`` with ``[tool.quantkit]``.
        output: The run directory; None picks a new one under ``runs/``.
        baseline: An earlier comparison, run directory or ``comparison.json``, for rules against a baseline.
        baseline_optional: Without it, such rules are not comparable, instead of an error.
        fresh: Use nothing that an earlier run left.
        progress: Told how far it is; None shows a bar in a terminal or a notebook.

    Returns:
        The run's folder, its comparison, and how the gate judged it.

    Raises:
        BadInput: The configuration, the model or the data is wrong.
        BackendMissing: A target that was asked for does not work here.
        NothingEvaluated: No sample could be read.
    """
    settings = config if isinstance(config, Config) else load_config(Path(config))
    if baseline is not None and not isinstance(baseline, Comparison):
        baseline = run_files.load_comparison(Path(baseline))
    folder = None if output is None else Path(output)
    return run_all(settings, folder, fresh, shown_or_silent(progress), baseline, baseline_optional)
