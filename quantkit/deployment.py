"""The Python API over what targets run: artifacts and engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quantkit.arguments import (
    AnyCalibration,
    AnyPath,
    Names,
    Settings,
    recipe_of,
    several,
)
from quantkit.config import parse_config
from quantkit.core.artifact import PRECISIONS, Artifact
from quantkit.core.errors import BadConfig
from quantkit.core.files import normalized
from quantkit.core.progress import Progress
from quantkit.core.progress_bar import shown_or_silent
from quantkit.core.recipe import Recipe
from quantkit.core.record import Record
from quantkit.pipeline.build import EngineRequest, build_engines
from quantkit.pipeline.export import export as run_export
from quantkit.pipeline.handoff import hand_off
from quantkit.pipeline.run_directory import ARTIFACTS
from quantkit.pipeline.writing import writing_artifacts
from quantkit.targets import all_targets, targets_named
from quantkit.targets.base import Engine
from quantkit.targets.openvino import OpenVinoSettings
from quantkit.targets.tensorrt import TensorRTSettings


def export(
    calibration: AnyCalibration,
    target: Names | None = None,
    *,
    precisions: Names = ("int8",),
    output: AnyPath | None = None,
    tensorrt: str | None = None,
    openvino: OpenVinoSettings | None = None,
    settings: Settings | None = None,
) -> list[Artifact]:
    """Write what targets run: ``output/<target>/<precision>/``.

    Args:
        calibration: The ranges, or the run directory that holds them; or a :class:`Recipe`, whose ranges, exclusions
            and weights may differ from them.
        target: One name or several; None means every target that can be exported here.
        precisions: "fp32", "fp16" or "int8".
        output: The folder; None means the run's ``artifacts``.
        tensorrt: The version of TensorRT that will read the files; None writes those of 8.6 to 11.
        openvino: How IR is made.
        settings: Settings of installed targets, by target, as in ``[targets.NAME]``.

    Returns:
        An artifact for every target, precision and placement.

    Raises:
        BadInput: A name is unknown, or a target cannot express the model (TargetRefuses).
        BackendMissing: A target's library is needed and not installed.
    """
    own: dict[str, Record | Mapping[str, Any]] = {"tensorrt": TensorRTSettings(version=tensorrt), **(settings or {})}
    if openvino is not None:
        own["openvino"] = openvino
    if target is None:
        targets = [t for t in all_targets(own).values() if t.can_export() and not t.only_by_name]
    else:
        targets = targets_named(several(target), own)
    recipe = recipe_of(calibration)
    artifacts = _artifacts_of(recipe, output)
    with writing_artifacts(recipe.calibration, artifacts):
        made = run_export(recipe, targets, several(precisions), artifacts)
        hand_off(recipe, targets, artifacts, [1])
        return made


def build(
    calibration: AnyCalibration,
    *,
    target: str = "tensorrt",
    precisions: Names = PRECISIONS,
    mode: str = "auto",
    shapes: Names = (),
    batch_sizes: Sequence[int] = (1,),
    workspace_mb: int | None = None,
    optimization_level: int | None = None,
    sparse: bool = False,
    plugins: Sequence[AnyPath] = (),
    compute_capabilities: Names = (),
    settings: Settings | None = None,
    device: str = "cuda:0",
    output: AnyPath | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> list[Engine]:
    """Build a target's engines on this machine.

    Args:
        calibration: The ranges, a run directory, or a :class:`Recipe`.
        target: A target that has engines.
        precisions: "fp32", "tf32", "fp16" or "int8".
        mode: Where INT8 comes from: "auto", "implicit", "explicit" or "strong".
        shapes: Optimization profiles of dynamic inputs, such as ``"x=1x3x224x224:8x3x224x224:32x3x224x224"``.
        batch_sizes: Without ``shapes``, a profile for each of these.
        workspace_mb: MiB of scratch memory at most; None means all there is.
        optimization_level: 0 builds fastest, 5 runs fastest; None means TensorRT's 3.
        sparse: Let TensorRT choose kernels for weights that are 2:4 sparse.
        plugins: Libraries of TensorRT plugins, for building and running.
        compute_capabilities: The GPUs that "tensorrt-rtx" builds for, such as "8.6"; without any, 8.0 and later.
        settings: Settings of installed targets, by target, as in ``[targets.NAME]``.
        device: The GPU, for "tensorrt".
        output: The folder that artifacts lie in; None means the run's ``artifacts``.
        fresh: Build anew what is there and still fits.
        progress: Told how far it is; None shows a bar in a terminal or a notebook.

    Returns:
        The engines, in the order of ``precisions``.

    Raises:
        BadInput: A setting is wrong, or the target cannot express the model (TargetRefuses).
        BackendMissing: TensorRT or a GPU is missing.
    """
    given = {
        "mode": mode,
        "shapes": several(shapes),
        "workspace_mb": workspace_mb,
        "optimization_level": optimization_level,
        "sparse": sparse,
        "plugins": [normalized(Path(file)) for file in plugins],
        "compute_capabilities": several(compute_capabilities),
    }
    config = parse_config({"build": given, "targets": settings or {}}, "the arguments of build()")
    recipe = recipe_of(calibration)
    wanted = EngineRequest(target, several(precisions), () if shapes else batch_sizes, device, fresh)
    artifacts = _artifacts_of(recipe, output)
    with writing_artifacts(recipe.calibration, artifacts):
        return build_engines(config, recipe, artifacts, wanted, shown_or_silent(progress))


def _artifacts_of(recipe: Recipe, output: AnyPath | None) -> Path:
    if output is not None:
        return Path(output)
    if recipe.calibration.folder is None:
        raise BadConfig("There is no folder to write to.", "Give output=, or calibrate with output=.")
    if recipe.changes:
        raise BadConfig("The recipe is not the run's calibration as it is.", "Give a folder of its own: output=.")
    return recipe.calibration.folder / ARTIFACTS
