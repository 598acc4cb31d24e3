"""The build stage: makes engines from a calibration, for targets that have engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quantkit.config import Config
from quantkit.core.artifact import PRECISIONS
from quantkit.core.errors import BadConfig
from quantkit.core.progress import Progress, silent
from quantkit.core.recipe import Recipe
from quantkit.pipeline.export import calibrated_model, prepare_request
from quantkit.targets import targets_named
from quantkit.targets.base import BuildsEngines, Engine


@dataclass(frozen=True)
class EngineRequest:
    """The engines to build. Existing engines that still fit are used again unless ``fresh``."""

    target: str = "tensorrt"
    precisions: Sequence[str] = PRECISIONS
    batches: Sequence[int] = (1,)
    device: str = "cuda:0"
    fresh: bool = False


def build_engines(
    config: Config, recipe: Recipe, artifacts: Path, wanted: EngineRequest, progress: Progress = silent
) -> list[Engine]:
    """Build an engine for every precision.

    Args:
        config: The effective configuration.
        recipe: The ranges and weights.
        artifacts: The folder of the artifacts; engines are written below it.
        wanted: The engines to build.
        progress: Displays the progress.

    Returns:
        The engines.

    Raises:
        BadConfig: The target has no engines.
        BadInput: The model has changed, or a setting makes no sense.
        TargetRefuses: The target cannot build the model.
        BackendMissing: The target's library or GPU is missing.
    """
    (chosen,) = targets_named([wanted.target], config.target_settings())
    if not isinstance(chosen, BuildsEngines):
        raise BadConfig(
            f"There are no engines to build for {wanted.target!r}.",
            "Use the target tensorrt or tensorrt-rtx, or export.",
        )
    model = calibrated_model(recipe.calibration)
    request = prepare_request(chosen, model, recipe, artifacts, wanted.precisions, progress=progress)
    engines = chosen.engines(request.on(wanted.device, wanted.batches, fresh=wanted.fresh))
    model.check_unchanged()
    return engines
