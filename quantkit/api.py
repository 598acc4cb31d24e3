"""The Python API: the stages as plain functions over values and paths."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from quantkit.config import DEFAULT_METHOD, DEFAULT_SAMPLES, load_config, parse_config
from quantkit.core.artifact import PRECISIONS, Artifact
from quantkit.core.calibration import Calibration
from quantkit.core.comparison import Comparison
from quantkit.core.errors import BadInput, NothingEvaluated
from quantkit.core.files import normalized, write_text
from quantkit.core.preprocess import DEFAULT_PRESET, Preprocess, preset
from quantkit.core.progress import Progress, silent
from quantkit.core.recipe import Recipe
from quantkit.core.record import Record
from quantkit.gates import GateResult, Rule
from quantkit.gates import gate as apply_rules
from quantkit.pipeline import run_files
from quantkit.pipeline.calibration.shards import merge as merge_parts
from quantkit.pipeline.calibration.stage import calibrate as run_calibration
from quantkit.pipeline.comparison.stage import compare as run_comparison
from quantkit.pipeline.export import export as run_export
from quantkit.pipeline.report import own_gate
from quantkit.pipeline.run_directory import ARTIFACTS, is_run
from quantkit.pipeline.run_files import run_config
from quantkit.targets import all_targets, targets_named
from quantkit.targets.openvino import OpenVinoSettings
from quantkit.targets.tensorrt import DEFAULT_VERSION, TensorRTSettings

if TYPE_CHECKING:
    from quantkit.reports.notebook import NotebookView

AnyPath = str | PathLike[str]


def calibrate(
    model: AnyPath,
    data: AnyPath,
    *,
    method: str = DEFAULT_METHOD,
    samples: int = DEFAULT_SAMPLES,
    batch_size: int = 1,
    preprocess: str | Preprocess = DEFAULT_PRESET,
    tensors: str = "all",
    exclude: Sequence[str] = (),
    seed: int = 0,
    output: AnyPath | None = None,
    fresh: bool = False,
    progress: Progress = silent,
) -> Calibration:
    """Find the range of every float activation of an ONNX model.

    ``data`` is a folder of images (in class folders or flat), a text file that lists them, an .npy or an .npz.
    ``samples`` bounds how many are used; ``batch_size`` first ones fix the histograms' bin widths, as TensorRT's batch
    does. ``tensors`` "quantizable" leaves out those that no Q/DQ or IR quantizes. ``exclude`` holds wildcards for nodes
    and tensors to leave in floating point. With ``output`` the result is
    kept in that run directory, and what it already holds of the same work is used again unless ``fresh``; without it
    everything stays in memory. Raises BadInput.
    """
    config = parse_config(
        {
            "model": {"path": normalized(Path(model))},
            "data": {"calibration": normalized(Path(data)), "samples": samples, "seed": seed},
            "preprocess": preset(preprocess) if isinstance(preprocess, str) else preprocess,
            "calibrate": {"method": method, "batch_size": batch_size, "tensors": tensors, "exclude": list(exclude)},
        },
        "the arguments of calibrate()",
    )
    folder = None if output is None else Path(output)
    return run_calibration(config, folder, in_memory=folder is None, fresh=fresh, progress=progress)


def merge(parts: Sequence[AnyPath], output: AnyPath | None = None) -> Calibration:
    """The calibration of a whole set from its shards' folders, as ``quantkit calibrate --shard`` writes them.

    It equals, to the bit of every count, what one machine would have made. ``output`` defaults to a new run under
    ``runs/``. Raises BadInput.
    """
    calibration, _ = merge_parts([Path(part) for part in parts], None if output is None else Path(output))
    return calibration


def load_calibration(folder: AnyPath) -> Calibration:
    """The calibration of a run directory, with its histograms. Raises BadRun."""
    return run_files.load_calibration(Path(folder))


def load_comparison(folder: AnyPath) -> Comparison:
    """The comparison of a run directory. Raises BadRun."""
    return run_files.load_comparison(Path(folder))


def export(
    calibration: Calibration | Recipe,
    target: str | Sequence[str] | None = None,
    *,
    precisions: Sequence[str] = ("int8",),
    output: AnyPath | None = None,
    tensorrt: str = DEFAULT_VERSION,
    openvino: OpenVinoSettings | None = None,
) -> list[Artifact]:
    """Write what targets run: ``output/<target>/<precision>/``.

    ``target`` None means every target that can be exported here; ``output`` defaults to the run's ``artifacts``.
    ``tensorrt`` is the version that stands in the calibration cache, ``openvino`` how IR is made. Raises BadInput, or
    BackendMissing when a target's library is needed and not installed.
    """
    if output is not None:
        folder = Path(output)
    elif isinstance(calibration, Calibration) and calibration.folder is not None:
        folder = calibration.folder / ARTIFACTS
    else:
        raise BadInput("There is no folder to export to.", "Give output=, or calibrate with output=.")
    settings: dict[str, Record] = {"tensorrt": TensorRTSettings(version=tensorrt)}
    if openvino is not None:
        settings["openvino"] = openvino
    if target is None:
        targets = [t for t in all_targets(settings).values() if t.can_export()]
    else:
        targets = targets_named([target] if isinstance(target, str) else target, settings)
    return run_export(as_recipe(calibration), targets, precisions, folder)


def as_recipe(calibration: Calibration | Recipe) -> Recipe:
    """What is exported: the calibration as it is, or a recipe that was changed since."""
    return calibration if isinstance(calibration, Recipe) else Recipe.of(calibration)


def compare(
    calibration: Calibration,
    data: AnyPath,
    *,
    targets: Sequence[str] = (),
    precisions: Sequence[str] = PRECISIONS,
    samples: int | None = None,
    classes: Sequence[str] | None = None,
    batch_sizes: Sequence[int] = (1,),
    device: str | None = None,
    openvino: OpenVinoSettings | None = None,
    progress: Progress = silent,
) -> Comparison:
    """Measure accuracy, fidelity and latency of each precision on each target, on this machine.

    ``targets`` empty means all that work here; FP32 is always measured, as the reference. ``samples`` None means all of
    ``data``. ``classes`` names the outputs in order; without it the class folders, sorted, do. Latency is
    measured at each of ``batch_sizes``, on ``device`` (None: each target's first). ``openvino`` says how IR
    is made and run; of several placements in it each is measured. A calibration that lies
    in a run directory gets its artifacts and ``comparison.json`` there. Raises BadInput, BackendMissing,
    NothingEvaluated.
    """
    config = parse_config(
        {
            "data": {
                "evaluation": normalized(Path(data)),
                "eval_samples": samples,
                "classes": None if classes is None else list(classes),
                "seed": calibration.seed,
            },
            "preprocess": calibration.preprocess,
            "compare": {
                "targets": list(targets),
                "precisions": list(precisions),
                "batch_sizes": list(batch_sizes),
                "device": device,
            },
            "openvino": openvino or OpenVinoSettings(),
        },
        "the arguments of compare()",
    )
    if calibration.folder is not None:
        comparison = run_comparison(config, Recipe.of(calibration), calibration.folder / ARTIFACTS, progress)
        return run_files.save_comparison(comparison, calibration.folder)
    with tempfile.TemporaryDirectory(prefix="quantkit-") as folder:
        return run_comparison(config, Recipe.of(calibration), Path(folder), progress)


def report(comparison: Comparison, path: AnyPath, *, calibration: Calibration | None = None) -> Path:
    """Write the HTML report.

    A comparison from a run directory brings its calibration's histograms along, the rules that it was judged by, and
    whether thumbnails are shown. Raises BadInput for a run directory that cannot be read.
    """
    from quantkit.reports.html import html_report

    calibration, judged, thumbnails = _run_of(comparison, calibration)
    write_text(Path(path), html_report(calibration, comparison, judged, thumbnails))
    return Path(path)


def show(
    comparison: Comparison, *, calibration: Calibration | None = None, thumbnails: bool | None = None
) -> NotebookView:
    """The report, to be the last line of a notebook's cell, with what :func:`report` takes from a run directory.

    ``thumbnails`` False shows no pictures of samples, None those that the run allows. Raises BadInput for a run
    directory that cannot be read.
    """
    from quantkit.reports.html import html_report
    from quantkit.reports.markdown import markdown_summary
    from quantkit.reports.notebook import NotebookView

    calibration, judged, allowed = _run_of(comparison, calibration)
    page = html_report(calibration, comparison, judged, allowed if thumbnails is None else thumbnails)
    return NotebookView(page, markdown_summary(comparison, judged, calibration))


def _run_of(
    comparison: Comparison, calibration: Calibration | None
) -> tuple[Calibration | None, GateResult | None, bool]:
    """Calibration, gate and whether to show thumbnails, of the run that a comparison lies in, if in any.

    A ``calibration`` that is given stands in for the run's.
    """
    folder = comparison.folder
    if folder is None or not is_run(folder):
        return calibration, None, True
    return (
        calibration or run_files.load_calibration(folder),
        own_gate(folder, comparison),
        run_config(folder).report.thumbnails,
    )


def gate(
    comparison: Comparison | AnyPath,
    rules: AnyPath | Sequence[Rule],
    baseline: Comparison | AnyPath | None = None,
) -> GateResult:
    """Judge a comparison (or a run directory, or a ``comparison.json``) by rules, or by the ``[[gate]]`` of a file.

    ``baseline`` is what rules against a baseline compare with. Raises BadInput for files that cannot be read and for a
    baseline that is missing, NothingEvaluated when there are no rules.
    """
    if not isinstance(comparison, Comparison):
        comparison = run_files.load_comparison(Path(comparison))
    if baseline is not None and not isinstance(baseline, Comparison):
        baseline = run_files.load_comparison(Path(baseline))
    chosen = load_config(Path(rules)).gate if isinstance(rules, (str, PathLike)) else list(rules)
    if not chosen:
        raise NothingEvaluated("There are no gate rules.", "Add [[gate]] tables to the configuration.")
    return apply_rules(comparison, chosen, baseline)
