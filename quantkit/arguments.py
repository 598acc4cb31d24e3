"""What the functions of the Python API take, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from quantkit.calibrators.solve import Calibrator
from quantkit.core.calibration import Calibration
from quantkit.core.files import normalized
from quantkit.core.preprocess import Preparation, Preprocess
from quantkit.core.presets import DEFAULT_PRESET, preset
from quantkit.core.recipe import Recipe
from quantkit.core.references import reference_to
from quantkit.datasets.text_settings import TEXT, TextSettings
from quantkit.graph.in_memory import written_model
from quantkit.pipeline.run_files import load_calibration

AnyPath = str | PathLike[str]
AnyCalibration = Calibration | Recipe | AnyPath
"""The ranges: a calibration, a recipe, or a run directory."""
AnyModel = AnyPath | Any
"""An ONNX file, or an ``onnx.ModelProto`` in memory."""
Names = str | Sequence[str]
"""One name, or several."""
Metric = str | Callable[[list[Any], list[Any]], Any]
"""A metric of your own: ``file.py:function``, ``package.module:function``, or the function itself."""
Settings = Mapping[str, Mapping[str, Any]]
"""Keys and values by target."""


def several(names: Names) -> list[str]:
    """One name or several as a list."""
    return [names] if isinstance(names, str) else list(names)


def path_of(data: Any) -> Path | None:
    """A path as the absolute one; None for samples of Python's own."""
    return normalized(Path(data)) if isinstance(data, (str, PathLike)) else None


def recipe_of(calibration: AnyCalibration) -> Recipe:
    """The recipe, or that of a calibration as it is, which may be a run directory's. Raises BadRun."""
    if isinstance(calibration, (str, PathLike)):
        calibration = load_calibration(Path(calibration))
    return calibration if isinstance(calibration, Recipe) else Recipe.of(calibration)


def model_of(model: AnyModel, output: AnyPath | None = None) -> Path:
    """The absolute path of a model; one that is in memory is written to a file first.

    Args:
        model: An ONNX file, or a model in memory.
        output: The run directory that the model belongs to, which keeps it; without one, it is there until the process
            ends.

    Returns:
        The path.

    Raises:
        BadModel: It is neither.
    """
    if isinstance(model, (str, PathLike)):
        return normalized(Path(model))
    return written_model(model, None if output is None else Path(output))


def method_of(method: str | Calibrator) -> str:
    """The name of a calibration method; that of a function is ``module:name``. Raises BadConfig."""
    return method if isinstance(method, str) else reference_to(method, "calibrator")


def text_of(given: TextSettings | None, recipe: Recipe) -> TextSettings:
    """How texts are read and tokenized; None tokenizes them as the calibration did."""
    made = recipe.preprocess
    if given is not None or not isinstance(made, Preparation) or made.name != TEXT:
        return given or TextSettings()
    return TextSettings.model_validate({key: made.settings[key] for key in ("tokenizer", "max_length", "padding")})


def preprocessing_of(given: str | Preprocess | None, recipe: Recipe) -> Preprocess:
    """What is done to images: a preset of this name, or what is given; None means what the calibration did."""
    chosen = recipe.preprocess if given is None else given
    if isinstance(chosen, Preparation):  # of samples that are no images: the data set's own affair
        chosen = DEFAULT_PRESET
    return preset(chosen) if isinstance(chosen, str) else chosen
