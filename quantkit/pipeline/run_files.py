"""Loads and saves the files of a run: calibration, comparison, predictions, sensitivity, configuration."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from quantkit.config import CONFIG_FILE, Config
from quantkit.config_files import load_config
from quantkit.core.calibration import CALIBRATION_FILE, Calibration
from quantkit.core.comparison import COMPARISON_FILE, Comparison
from quantkit.core.errors import BadRun
from quantkit.core.files import atomic_file, sha256_of, write_npz, write_text
from quantkit.core.npz import LARGEST, read_npz
from quantkit.core.predictions import Predictions
from quantkit.core.reading import read_file
from quantkit.core.recipe import Recipe
from quantkit.core.record import read_record
from quantkit.core.references import is_reference
from quantkit.core.sensitivity import SENSITIVITY_FILE, Sensitivity
from quantkit.core.statistics.files import COLLECTED_FILES, HISTOGRAMS_FILE, load_collected, save_collected
from quantkit.core.wording import path_meant
from quantkit.pipeline.run_layout import current
from quantkit.tasks import AUTO, TASKS

ATTEMPTS, PAUSE = 3, 0.05  # to read a run that another command is replacing; seconds between them
SAMPLE_FILE = "sample.npz"
BIASES_FILE = "biases.npz"
PREDICTIONS_FILE = "predictions.npz"
ABOUT_SAMPLES = ("names", "classes", "labels", "keys")  # the arrays of predictions.npz that every task has


def save_calibration(calibration: Calibration, folder: Path) -> Calibration:
    """Write ``calibration.json`` and the statistics beside it, each file atomically.

    Returns the calibration as saved. Raises BadInput if it cannot be written.
    """
    save_collected(folder, calibration.collected, exact=False)
    files = [*COLLECTED_FILES]
    if calibration.sample is not None:
        write_npz(folder / SAMPLE_FILE, calibration.sample)
        files.append(SAMPLE_FILE)
    if calibration.biases:
        write_npz(folder / BIASES_FILE, calibration.biases)
        files.append(BIASES_FILE)
    digests = {name: sha256_of(folder / name) for name in files}
    saved = calibration.model_copy(update={"folder": folder, "files": digests})
    write_text(folder / CALIBRATION_FILE, saved.model_dump_json(indent=1) + "\n")
    return saved


def load_calibration(folder: Path) -> Calibration:
    """Read the calibration of a run directory, as it is before or after a command that is replacing it.

    Raises BadRun for a missing, damaged or outdated file.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return _load_calibration(folder)
        except BadRun:  # its files may be those of two calibrations for a moment
            time.sleep(PAUSE)
    return _load_calibration(folder)


def _load_calibration(folder: Path) -> Calibration:
    path = current(folder, CALIBRATION_FILE)
    calibration = read_record(Calibration, path, "quantkit calibrate")
    collected = load_collected(folder, calibration.files, current)
    if not calibration.tensors and not calibration.samples:
        raise BadRun(f"{path} is damaged (tensors: there is none).", "Make it again with quantkit calibrate.")
    if calibration.samples and calibration.tensors.keys() != collected.histograms.keys():
        other = next(iter(calibration.tensors.keys() ^ collected.histograms.keys()))
        raise BadRun(
            f"{path} is damaged (tensors: {other!r} is not in both it and {HISTOGRAMS_FILE}).",
            "Make it again with quantkit calibrate.",
        )
    digests = calibration.files
    sample = _load_arrays(folder, SAMPLE_FILE, digests) if SAMPLE_FILE in digests else None
    biases = _load_arrays(folder, BIASES_FILE, digests) if BIASES_FILE in digests else {}
    if not all(values.ndim == 1 and np.isfinite(values).all() for values in biases.values()):
        raise BadRun(f"{folder / BIASES_FILE} is damaged (it holds no biases).", "Tune again.")
    own = {"collected": collected, "folder": folder, "sample": sample, "biases": biases}
    return calibration.model_copy(update=own)


def _load_arrays(folder: Path, name: str, digests: Mapping[str, str]) -> dict[str, Any]:
    return load_sample(current(folder, name), digests[name])


def load_sample(path: Path, digest: str) -> dict[str, Any]:
    """Read the arrays of a file. Raises BadRun if it is missing, or not the one whose SHA-256 was recorded."""
    try:
        data = read_file(path, LARGEST, BadRun, "file of arrays")
        if hashlib.sha256(data).hexdigest() != digest:
            raise ValueError("its contents are others than were recorded")
        return read_npz(data)
    except (OSError, ValueError) as error:
        raise BadRun(f"{path} is damaged ({error}).", "Make it again with quantkit calibrate.") from error


def save_comparison(comparison: Comparison, folder: Path) -> Comparison:
    """Write ``predictions.npz`` and ``comparison.json``, and return the comparison as saved.

    If either cannot be written, the earlier ones stay.
    """
    path = folder / PREDICTIONS_FILE
    if comparison.predictions is None:
        saved = _write_comparison(comparison, folder, "")
        path.unlink(missing_ok=True)
        return saved
    with atomic_file(path) as temporary:
        save_predictions(comparison.predictions, temporary)
        return _write_comparison(comparison, folder, sha256_of(temporary))


def _write_comparison(comparison: Comparison, folder: Path, predictions_sha256: str) -> Comparison:
    saved = comparison.model_copy(update={"predictions_sha256": predictions_sha256, "source": folder})
    write_text(folder / COMPARISON_FILE, saved.model_dump_json(indent=1) + "\n")
    return saved


def load_comparison(path: Path) -> Comparison:
    """Read a comparison from a run directory or a file. Raises BadRun for a missing, damaged or outdated file.

    Predictions that belong to another comparison are ignored. A file without metrics gets those of its task.
    """
    if not path.exists():
        hint = f"{path_meant(path)}Give a compared run, or its {COMPARISON_FILE}."
        raise BadRun(f"There is no run or comparison {path}.", hint)
    file = path if path.is_file() else path / COMPARISON_FILE
    comparison = read_record(Comparison, file, "quantkit compare")
    source = file.parent if file.name == COMPARISON_FILE else file
    answers = file.parent / PREDICTIONS_FILE
    predictions = None
    if comparison.predictions_sha256 and answers.is_file() and sha256_of(answers) == comparison.predictions_sha256:
        predictions = load_predictions(answers)
        task = TASKS[comparison.task]() if comparison.task in TASKS else None
        if task and (fault := task.stored_fault(predictions.kept, predictions.labels, predictions.classes)):
            raise BadRun(f"{answers} is damaged ({fault}).", "Make it again with quantkit compare.")
    metrics = comparison.metrics or (TASKS[comparison.task].metrics if comparison.task in TASKS else ())
    return comparison.model_copy(update={"source": source, "predictions": predictions, "metrics": metrics})


def save_predictions(predictions: Predictions, path: Path) -> None:
    """Write predictions atomically."""
    names, classes, keys = (
        np.array(values, dtype=np.str_) for values in (predictions.names, predictions.classes, predictions.keys)
    )
    samples = {"names": names, "classes": classes, "labels": predictions.labels, "keys": keys}
    write_npz(path, {**samples, **predictions.kept})


def load_predictions(path: Path) -> Predictions:
    """Read predictions. Raises BadRun for a file that is missing, damaged or inconsistent."""
    try:
        file = read_npz(read_file(path, LARGEST, BadRun, "file"))
        names, classes, keys = (tuple(map(str, file[name].tolist())) for name in ("names", "classes", "keys"))
        labels = file["labels"]
        kept = {name: values for name, values in file.items() if name not in ABOUT_SAMPLES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRun(f"{path} cannot be read ({error}).", "Make it again with quantkit compare.") from error
    found = Predictions(names, classes, labels, keys, kept)
    if fault := found.fault():
        raise BadRun(f"{path} is damaged ({fault}).", "Make it again with quantkit compare.")
    return found


def save_sensitivity(found: Sensitivity, folder: Path) -> Sensitivity:
    """Write ``sensitivity.json`` atomically, and return it as saved."""
    saved = found.model_copy(update={"folder": folder})
    write_text(folder / SENSITIVITY_FILE, saved.model_dump_json(indent=1) + "\n")
    return saved


def load_sensitivity(folder: Path, recipe: Recipe | None = None) -> Sensitivity | None:
    """Read ``sensitivity.json``.

    Args:
        folder: The run directory.
        recipe: What it must have been measured of; None takes any.

    Returns:
        The sensitivity; None if there is none, or only one of another recipe.

    Raises:
        BadRun: The file is damaged, or of another version.
    """
    path = folder / SENSITIVITY_FILE
    if not path.is_file():
        return None
    found = read_record(Sensitivity, path, "quantkit sensitivity")
    if recipe is not None and found.recipe != recipe.digest(quantized=True):
        return None
    return found.model_copy(update={"folder": folder})


def write_config(folder: Path, config: Config) -> None:
    """Write the effective ``quantkit.toml``."""
    write_text(folder / CONFIG_FILE, config.to_toml())


def run_config(folder: Path) -> Config:
    """Read the effective configuration of the run; the defaults if it has none.

    What names code is left out, libraries of plugins, metrics and a task of somebody's own: a run may be someone
    else's, and no code that it names is loaded.
    """
    found = stored_config(folder)
    task = {"metrics": [], **({"name": AUTO} if is_reference(found.task.name) else {})}
    return found.model_copy(
        update={
            "build": found.build.model_copy(update={"plugins": []}),
            "task": found.task.model_copy(update=task),
        }
    )


def stored_config(folder: Path) -> Config:
    """Read the same with what names code, to write it back; nothing may be run by it."""
    file = current(folder, CONFIG_FILE)
    return load_config(file) if file.is_file() else Config()


def named_code(folder: Path) -> list[str]:
    """Return what the run's configuration names as its metrics and its task, which nothing calls for that alone."""
    task = stored_config(folder).task
    return [*task.metrics, *([task.name] if is_reference(task.name) else [])]
