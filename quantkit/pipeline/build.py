"""A calibration in, engines of a target that builds some out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantkit.config import Config
from quantkit.core.calibration import Calibration
from quantkit.core.errors import BadConfig
from quantkit.core.progress import Progress, silent
from quantkit.core.recipe import Recipe
from quantkit.pipeline.export import calibrated_model, prepare_request
from quantkit.targets import targets_named
from quantkit.targets.base import BuildsEngines, Engine


def build_engines(
    config: Config,
    calibration: Calibration,
    artifacts: Path,
    precisions: Sequence[str],
    target: str = "tensorrt",
    device: str = "cuda:0",
    batches: Sequence[int] = (1,),
    fresh: bool = False,
    progress: Progress = silent,
) -> list[Engine]:
    """Build an engine for every precision, or use those below ``artifacts`` that still fit unless ``fresh``.

    Raises BadConfig for a target without engines, BadInput, TargetRefuses, BackendMissing.
    """
    (chosen,) = targets_named([target], config.target_settings())
    if not isinstance(chosen, BuildsEngines):
        raise BadConfig(f"There are no engines to build for {target!r}.", "Use --target tensorrt, or quantkit export.")
    model, recipe = calibrated_model(calibration), Recipe.of(calibration)
    request = prepare_request(chosen, model, recipe, artifacts, precisions, progress=progress)
    return chosen.engines(request.on(device, batches, fresh=fresh))
