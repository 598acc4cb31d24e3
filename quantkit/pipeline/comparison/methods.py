"""INT8 by several calibration methods side by side, all solved from the same histograms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantkit.config import Config
from quantkit.core.artifact import KNOWN_PRECISIONS
from quantkit.core.errors import BadConfig
from quantkit.core.recipe import Recipe
from quantkit.pipeline.comparison.candidates import Candidate, Source
from quantkit.pipeline.keeping import method_folder
from quantkit.pipeline.run_directory import ARTIFACTS

FLOATING = tuple(precision for precision in KNOWN_PRECISIONS if precision != "int8")


def sources_of(config: Config, recipe: Recipe, artifacts: Path) -> list[Source]:
    """Return what artifacts are made from: the recipe, and one for each further method of ``[compare] methods``.

    Floating-point artifacts are made from the recipe, once. INT8 of further methods lies in folders of their own, where
    it is found again.

    Args:
        config: The effective configuration.
        recipe: The run's own ranges and weights.
        artifacts: The folder of the run's own artifacts.

    Returns:
        The sources, the recipe first.

    Raises:
        BadConfig: The run has no ranges by a method, or the recipe is not the calibration's own.
    """
    methods = list(dict.fromkeys(config.compare.methods))
    if not methods:
        return [Source(recipe, artifacts)]
    if recipe.changes:
        raise BadConfig(
            f"Methods cannot be compared for a recipe of its own ({recipe.changes}).",
            "Compare it without methods (--method, methods=).",
        )
    run = artifacts.parent if artifacts.name == ARTIFACTS else artifacts
    others = [
        Source(Recipe.of(recipe.calibration.by_method(name)), method_folder(run, name) / ARTIFACTS, ("int8",))
        for name in methods
        if name != recipe.method
    ]
    return [Source(recipe, artifacts, () if recipe.method in methods else FLOATING), *others]


def method_names(candidates: Sequence[Candidate], recipe: Recipe) -> str:
    """Name the methods that INT8 candidates were made by; without any, the recipe's."""
    found = [candidate.recipe.method for candidate in candidates if candidate.artifact.precision == "int8"]
    return ", ".join(dict.fromkeys(found)) or recipe.method
