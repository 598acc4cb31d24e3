"""What the functions of the Python API take, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from quantkit.core.calibration import Calibration
from quantkit.core.files import normalized
from quantkit.core.preprocess import Preparation, Preprocess
from quantkit.core.presets import DEFAULT_PRESET, preset
from quantkit.core.recipe import Recipe
from quantkit.datasets.text_settings import TEXT, TextSettings

AnyPath = str | PathLike[str]
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


def recipe_of(calibration: Calibration | Recipe) -> Recipe:
    """The recipe, or that of a calibration as it is."""
    return calibration if isinstance(calibration, Recipe) else Recipe.of(calibration)


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
