"""The export stage: writes a target's files from ranges. Existing files that still fit are used again."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from quantkit.config import Config
from quantkit.core.artifact import PRECISIONS, Artifact
from quantkit.core.calibration import Calibration
from quantkit.core.errors import BadConfig, BadModel, TargetRefuses
from quantkit.core.files import digest_of, sha256_of, write_text
from quantkit.core.progress import Progress, silent
from quantkit.core.recipe import Recipe
from quantkit.core.wording import choice_of
from quantkit.graph.model_file import ModelFile, open_model
from quantkit.pipeline.artifact_files import new_artifact, recorded_files
from quantkit.pipeline.artifact_record import read_artifact
from quantkit.pipeline.handoff import hand_off
from quantkit.pipeline.run_directory import ARTIFACT_FILE
from quantkit.pipeline.self_check import SelfCheck
from quantkit.targets import Target, all_targets, targets_named
from quantkit.targets.base import PrepareRequest
from quantkit.version import __version__

log = logging.getLogger("quantkit")
Telling = Literal["always", "new", "never"]


def calibrated_model(calibration: Calibration) -> ModelFile:
    """Open the model of a calibration. Raises BadInput if it is missing or has changed since."""
    model = open_model(Path(calibration.model.path), calibration.model.batch_axis)
    if model.sha256() != calibration.model.sha256:
        raise BadModel(f"{model.path} has changed since it was calibrated.", "Calibrate again.")
    return model


def export(
    recipe: Recipe,
    targets: Sequence[Target],
    precisions: Sequence[str] | None,
    output: Path,
    progress: Progress = silent,
    lenient: bool = False,
    tell_layers: Telling = "always",
) -> list[Artifact]:
    """Write ``output/<target>/<precision>/`` for every target and precision.

    If a target is configured to make a precision in several ways, further ones go to ``<precision>-<variant>/``. Files
    that the same version made from the same model and recipe are left unchanged.

    Args:
        recipe: The ranges and weights.
        targets: The targets.
        precisions: The precisions; None means all that a target has.
        output: The folder to write to.
        progress: Displays the progress.
        lenient: Leave out, with a warning, artifacts that a target cannot make of this model.
        tell_layers: When to log how many layers an INT8 artifact computes in INT8: "new" leaves out files that are used
            again.

    Returns:
        The artifacts.

    Raises:
        BadInput: A precision is unknown, the model has changed, or the output cannot be written.
        TargetRefuses: A target cannot make an artifact of this model, and ``lenient`` is False.
    """
    unknown = [precision for precision in precisions or () if precision not in PRECISIONS]
    if unknown:
        raise BadConfig(f"There is no precision {unknown[0]!r}.", choice_of(unknown[0], PRECISIONS))
    model = calibrated_model(recipe.calibration)
    _check_ranges(recipe)
    quantized = model.with_weights(recipe.weights)
    wanted = [
        (t, p, v) for t in targets for p in t.precisions if precisions is None or p in precisions for v in t.variants(p)
    ]
    if not wanted:
        names = ", ".join(target.name for target in targets)
        raise BadConfig(
            f"There is no {' or '.join(precisions or ())} artifact for {names}.", "Choose another precision."
        )
    artifacts, check = [], SelfCheck(model, recipe.calibration.sample)
    refused: dict[tuple[str, str], list[str]] = defaultdict(list)  # precisions by target and reason
    try:
        with progress("exporting", len(wanted), "artifacts") as advance:
            for target, precision, variant in wanted:
                first = variant == target.variants(precision)[0]
                folder = output / target.name / (precision if first else f"{precision}-{variant}")
                try:
                    source = quantized if precision == "int8" else model
                    artifact, is_new = _export_one(source, recipe, target, precision, variant, folder, check)
                    artifacts.append(artifact)
                    if tell_layers == "always" or (is_new and tell_layers == "new"):
                        _tell_layers(artifact)
                    for note in artifact.notes:
                        log.warning("%s for %s: %s", precision, target.name, note)
                except TargetRefuses as refusal:
                    if not lenient:
                        raise
                    refused[target.name, str(refusal)].append(precision)
                advance(1)
    finally:  # also in front of an error
        for (name, reason), left_out in refused.items():
            log.warning("No %s for %s: %s", ", ".join(dict.fromkeys(left_out)), name, reason)
    return artifacts


def export_all(
    config: Config,
    recipe: Recipe,
    output: Path,
    progress: Progress = silent,
    targets: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
) -> list[Artifact]:
    """Export to targets by name, with the commands for whoever deploys the files.

    Args:
        config: The effective configuration.
        recipe: The ranges and weights.
        output: The folder to write to.
        progress: Displays the progress.
        targets: The names of the targets; without any, all that can export here.
        precisions: The precisions; without any, all that a target has.

    Returns:
        The artifacts.

    Raises:
        BadInput: See :func:`export`.
    """
    if targets:
        chosen = targets_named(targets, config.target_settings())
    else:
        every = all_targets(config.target_settings()).values()
        chosen = [target for target in every if target.can_export() and not target.only_by_name]
    made = export(recipe, chosen, precisions or None, output, progress, lenient=not targets)
    hand_off(recipe, chosen, output, config.compare.batch_sizes)
    return made


def prepare_request(
    target: Target,
    model: ModelFile,
    recipe: Recipe,
    artifacts: Path,
    precisions: Sequence[str],
    lenient: bool = False,
    progress: Progress = silent,
    tell_layers: Telling = "new",
) -> PrepareRequest:
    """Make the request to prepare a target's artifacts; device and batch sizes are set later.

    Args:
        target: The target.
        model: The calibrated model.
        recipe: The ranges and weights.
        artifacts: The folder of the artifacts.
        precisions: The precisions.
        lenient: Leave out artifacts that the target cannot make.
        progress: Displays the progress.
        tell_layers: When to log how many layers are in INT8.

    Returns:
        The request.
    """
    return PrepareRequest(
        model=model,
        recipe=recipe,
        precisions=precisions,
        folder=artifacts / target.name,
        export=lambda wanted: export(recipe, [target], wanted, artifacts, progress, lenient, tell_layers),
        lenient=lenient,
        progress=progress,
    )


def _tell_layers(artifact: Artifact) -> None:
    """Say how many layers are in INT8, as a warning if none of them is."""
    if artifact.layers is None:
        return
    line = f"{artifact.precision} for {artifact.target}: {artifact.layers.describe()}."
    if artifact.layers.quantized or not artifact.layers.total:
        log.info("%s", line)
    else:
        log.warning("NOTHING IS QUANTIZED. %s", line)


def _check_ranges(recipe: Recipe) -> None:
    """Raise BadConfig for a range of a tensor that was not calibrated."""
    for name in recipe.ranges:
        if name not in recipe.calibration.ranges:
            raise BadConfig(f"The recipe has a range for {name!r}, which was not calibrated.", "Check the name.")


def _export_one(
    model: ModelFile, recipe: Recipe, target: Target, precision: str, variant: str, folder: Path, check: SelfCheck
) -> tuple[Artifact, bool]:
    """Return an artifact, and True if its files were written just now."""
    if target.is_users_own(precision):
        return target.export(model, recipe, precision, folder), False
    fingerprint = _fingerprint(recipe, target, precision, variant)
    existing = read_artifact(folder, fingerprint)
    _refuse_changed_files(folder)
    if existing is not None:
        return existing, False
    with new_artifact(folder) as temporary:
        artifact = target.export(model, recipe, precision, temporary, variant)
        model.check_unchanged()
        notes = artifact.notes + check.warnings(target, artifact)
        names = [file.relative_to(temporary).as_posix() for file in artifact.files]
        record = {
            "target": target.name,
            "precision": precision,
            "files": names,
            "sha256": {name: sha256_of(temporary / name) for name in names},
            "notes": notes,
            "variant": artifact.variant,
            "layers": None if artifact.layers is None else artifact.layers.to_dict(),
            "fingerprint": fingerprint,
        }
        write_text(temporary / ARTIFACT_FILE, json.dumps(record, indent=1) + "\n")
    files = tuple(folder / name for name in names)
    return replace(artifact, files=files, notes=notes), True


def _fingerprint(recipe: Recipe, target: Target, precision: str, variant: str) -> str:
    """Return a digest of everything that the files depend on."""
    return digest_of([__version__, recipe.digest(precision == "int8"), target.fingerprint(precision), variant])


def _refuse_changed_files(folder: Path) -> None:
    """Raise BadConfig if a recorded file is no longer the one that was written: it is the user's now."""
    for name, digest in (recorded_files(folder) or {}).items():
        if (folder / name).is_file() and sha256_of(folder / name) != digest:
            raise BadConfig(
                f"{folder / name} is not the file that quantkit wrote.",
                "Move or remove it, or give another folder (-o, output=).",
            )
