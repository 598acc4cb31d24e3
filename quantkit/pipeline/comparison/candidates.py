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
from quantkit.core.wording import some
from quantkit.pipeline.export import calibrated_model, prepare_request
from quantkit.runtime.out_of_reach import out_of_reach
from quantkit.targets import Session, Target, all_targets, targets_named
from quantkit.targets.base import canonical_device

log = logging.getLogger("quantkit")


@dataclass(frozen=True)
class Candidate:
    """One model of a target, loaded on a device.

    Attributes:
        target: The target.
        artifact: The files.
        session: The loaded model.
        device: The device.
        variant: The variant of its rows: method and placement.
        recipe: The ranges and weights that it was made from.
        artifacts: The folder of the artifacts that it belongs to.
    """

    target: Target
    artifact: Artifact
    session: Session
    device: str
    variant: str
    recipe: Recipe
    artifacts: Path

    @property
    def key(self) -> str:
        """The key of its rows."""
        return model_key(self.artifact.target, self.device, self.artifact.precision, self.variant)

    @property
    def title(self) -> str:
        """The key without the device, for people."""
        variant = self.variant and f"({self.variant})"
        return model_key(self.artifact.target, "", self.artifact.precision.upper(), variant)

    @property
    def place(self) -> tuple[str, str]:
        """The target and the device, within which speeds are compared."""
        return self.artifact.target, self.device

    @property
    def is_reference(self) -> bool:
        """True for FP32, which the target's other candidates are compared with."""
        return self.artifact.precision == "fp32"


@dataclass(frozen=True)
class Source:
    """What artifacts are made from, and where.

    Attributes:
        recipe: The ranges and weights.
        artifacts: The folder of the artifacts.
        precisions: The precisions to make; empty for all.
    """

    recipe: Recipe
    artifacts: Path
    precisions: tuple[str, ...] = ()

    def makes(self, precision: str) -> bool:
        """True if this precision is made from it."""
        return not self.precisions or precision in self.precisions


def working_targets(config: Config) -> list[Target]:
    """Return the requested targets, or all that work here. Raises BackendMissing if a requested one does not work."""
    asked = targets_named(config.compare.targets, config.target_settings())
    for target in asked:
        availability = target.availability()
        if not availability.works:
            raise BackendMissing(f"{target.name} cannot be measured here: {availability.reason}.", availability.hint)
    every = all_targets(config.target_settings()).values()
    return asked or [target for target in every if not target.only_by_name and target.availability().works]


def candidates_of(
    config: Config,
    sources: Sequence[Source],
    targets: Sequence[Target],
    sizes: Sequence[int],
    progress: Progress,
) -> list[Candidate]:
    """Export or build every target's artifacts and load them on its device; FP32 is always included.

    A target that was not requested and cannot run the model is left out.

    Args:
        config: The effective configuration.
        sources: What artifacts are made from. INT8 is made from each, the other precisions from the first alone, for
            they do not depend on the method.
        targets: The targets.
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
    model = calibrated_model(sources[0].recipe.calibration)
    candidates: list[Candidate] = []
    for target, device in _placed(config, targets):
        if lenient and target.on_accelerator and device not in target.devices():
            continue  # --device names a device of another target
        found: list[Candidate] = []
        for source in sources:
            wanted = [precision for precision in precisions if source.makes(precision)]
            if not wanted:
                continue
            request = prepare_request(target, model, source.recipe, source.artifacts, wanted, lenient, progress)
            made = target.prepare(request.on(device, batches))
            found += _loaded(target, made, device, source.recipe, source.artifacts, lenient)
        if any(candidate.is_reference for candidate in found):  # the others are compared with it
            candidates += found
    if not candidates:
        lacking = out_of_reach(model.graph_only, model.source).operators
        hint = "See the warnings above; name one (--target, targets=)."
        if lacking:
            hint = f"Compare on TensorRT, which may have {some(lacking)} (--target tensorrt, targets=)."
        raise NothingEvaluated("No target here can run the model.", hint)
    return candidates


def _placed(config: Config, targets: Sequence[Target]) -> list[tuple[Target, str]]:
    """Return each target with each device that is asked for, or with its first."""
    return [
        (target, device)
        for target in targets
        for device in dict.fromkeys(map(canonical_device, config.compare.device or target.devices()[:1]))
    ]


def _loaded(
    target: Target, made: Sequence[Artifact], device: str, recipe: Recipe, folder: Path, lenient: bool
) -> list[Candidate]:
    """Load artifacts of one target."""
    candidates: list[Candidate] = []
    for artifact in made:
        try:
            session = target.load(artifact, device)
            variant = variant_of(artifact, recipe.method)
            candidates.append(Candidate(target, artifact, session, device, variant, recipe, folder))
        except (TargetRefuses, BackendMissing) as refusal:
            if not lenient or (isinstance(refusal, BackendMissing) and not target.on_accelerator):
                raise
            log.warning("No %s on %s: %s", artifact.precision, target.name, refusal)
    return candidates


def variant_of(artifact: Artifact, method: str) -> str:
    """Return the variant for an artifact's rows: the method, and the placement if there are several."""
    return ", ".join(filter(None, (method, artifact.variant))) if artifact.precision == "int8" else ""
