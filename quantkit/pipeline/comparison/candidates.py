"""The models to compare: those of every target, exported or built, and loaded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quantkit.config import Config
from quantkit.core.artifact import Artifact
from quantkit.core.comparison import model_key
from quantkit.core.errors import BackendMissing, NothingEvaluated, TargetRefuses
from quantkit.core.progress import Progress
from quantkit.core.recipe import Recipe
from quantkit.pipeline.export import calibrated_model, prepare_request
from quantkit.targets import Session, Target, all_targets, targets_named
from quantkit.targets.base import canonical_device

log = logging.getLogger("quantkit")


@dataclass(frozen=True)
class Candidate:
    """One model of a target, loaded on a device. ``variant`` is the variant of its rows: method and placement."""

    target: Target
    artifact: Artifact
    session: Session
    device: str
    variant: str

    @property
    def key(self) -> str:
        """The key of its rows."""
        return model_key(self.artifact.target, self.device, self.artifact.precision, self.variant)

    @property
    def is_reference(self) -> bool:
        """True for FP32, which the target's other candidates are compared with."""
        return self.artifact.precision == "fp32"


def working_targets(config: Config) -> list[Target]:
    """Return the requested targets, or all that work here. Raises BackendMissing if a requested one does not work."""
    asked = targets_named(config.compare.targets, config.target_settings())
    for target in asked:
        availability = target.availability()
        if not availability.works:
            raise BackendMissing(f"{target.name} cannot be measured here: {availability.reason}.", availability.hint)
    every = all_targets(config.target_settings())
    return asked or [target for target in every.values() if target.availability().works]


def candidates_of(
    config: Config,
    recipe: Recipe,
    targets: Sequence[Target],
    artifacts: Path,
    sizes: Sequence[int],
    progress: Progress,
) -> list[Candidate]:
    """Export or build every target's artifacts and load them on its device; FP32 is always included.

    A target that was not requested and cannot run the model is left out.

    Args:
        config: The effective configuration.
        recipe: The ranges and weights.
        targets: The targets.
        artifacts: The folder of the artifacts.
        sizes: The batch sizes at which latency is measured.
        progress: Displays the progress.

    Returns:
        The candidates of all targets.

    Raises:
        NothingEvaluated: No target can run the model.
        TargetRefuses: A requested target cannot run the model.
    """
    lenient = not config.compare.targets
    precisions = list(dict.fromkeys(("fp32", *config.compare.precisions)))
    batches = list(dict.fromkeys((1, *sizes)))  # accuracy is measured at batch 1
    model = calibrated_model(recipe.calibration)
    candidates: list[Candidate] = []
    for target in targets:
        device = canonical_device(config.compare.device or target.devices()[0])
        if lenient and target.on_accelerator and device not in target.devices():
            continue  # --device names a device of another target
        request = prepare_request(target, model, recipe, artifacts, precisions, lenient, progress)
        made = target.prepare(request.on(device, batches))
        candidates += _loaded(target, made, device, recipe.method, lenient)
    if not candidates:
        raise NothingEvaluated("No target here can run the model.", "See the warnings above; name one with --target.")
    return candidates


def _loaded(target: Target, artifacts: Sequence[Artifact], device: str, method: str, lenient: bool) -> list[Candidate]:
    """Load the artifacts; return none if FP32, which the others are compared with, does not load."""
    candidates: list[Candidate] = []
    for artifact in artifacts:
        try:
            session = target.load(artifact, device)
            candidates.append(Candidate(target, artifact, session, device, variant_of(artifact, method)))
        except (TargetRefuses, BackendMissing) as refusal:
            if not lenient or (isinstance(refusal, BackendMissing) and not target.on_accelerator):
                raise
            log.warning("No %s on %s: %s", artifact.precision, target.name, refusal)
    return candidates if any(candidate.is_reference for candidate in candidates) else []


def variant_of(artifact: Artifact, method: str) -> str:
    """Return the variant for an artifact's rows: the method, and the placement if there are several."""
    return ", ".join(filter(None, (method, artifact.variant))) if artifact.precision == "int8" else ""
