"""Turns counts into a calibration: the ranges by every method, the warnings, and the files of the run."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from quantkit.calibrators import calibrators, solve
from quantkit.config import Config
from quantkit.core.artifact import PRECISIONS
from quantkit.core.calibration import Calibration, DataRef, ModelRef, TensorCalibration
from quantkit.core.errors import BadData
from quantkit.core.extensions import ONNXRUNTIME, package_version
from quantkit.core.files import remove_folder
from quantkit.core.preprocess import Preparation, Preprocess
from quantkit.core.record import Record
from quantkit.core.statistics.collected import Collected
from quantkit.datasets.stream import samples_sha256
from quantkit.pipeline.calibration.checkpoint import Checkpoint
from quantkit.pipeline.calibration.warnings import warnings_after
from quantkit.pipeline.manifest import Manifest, now, write_manifest
from quantkit.pipeline.replacement import replacing
from quantkit.pipeline.run_directory import PARTIAL, is_run
from quantkit.pipeline.run_files import save_calibration
from quantkit.version import __version__

log = logging.getLogger("quantkit")


class Origin(Record):
    """The description of the data in a calibration.

    Attributes:
        data: The location of the data.
        names: The names of the chosen samples, in order.
        preprocess: The preprocessing.
        warnings: The warnings from before the pass.
    """

    data: str
    names: tuple[str, ...]
    preprocess: Preprocess | Preparation
    warnings: tuple[str, ...] = ()


def finish(
    config: Config,
    manifest: Manifest,
    source: Origin,
    found: Checkpoint,
    folder: Path | None,
    sample: dict[str, Any] | None = None,
) -> Calibration:
    """Make the calibration of a complete set of samples.

    Args:
        config: The effective configuration.
        manifest: Identifies the counts.
        source: The description of the data.
        found: The counts of all samples.
        folder: The run directory to save to; None keeps the calibration in memory.
        sample: The first sample, as one run of the model takes it.

    Returns:
        The calibration.

    Raises:
        BadInput: No sample could be read.
    """
    if not found.counted:
        raise BadData(f"No sample of {source.data} could be read.", "Check the files.")
    after = warnings_after(source.names, found.skipped, found.collected, found.masked)
    for warning in after:
        log.warning("%s", warning)
    calibration = Calibration(
        created=now(),
        versions={name: package_version(name) for name in ("numpy", "onnx", ONNXRUNTIME)} | {"quantkit": __version__},
        model=ModelRef(path=manifest.model, sha256=manifest.model_sha256, batch_axis=config.model.batch_axis),
        data=DataRef(
            path=source.data,
            sha256=samples_sha256(found.digests, len(source.names)),
            skipped={source.names[position]: why for position, why in sorted(found.skipped.items())},
        ),
        preprocess=source.preprocess,
        samples=found.counted,
        batch_size=config.calibrate.batch_size,
        seed=config.data.seed,
        method=config.calibrate.method,
        exclude=tuple(config.calibrate.exclude),
        not_finite=tuple(sorted(found.not_finite)),
        masked=tuple(sorted(found.masked)),
        warnings=(*source.warnings, *after),
        tensors=solved_tensors(found.collected, config, found.counted),
        collected=replace(found.collected, moments={k: m.stored() for k, m in found.collected.moments.items()}),
        sample=sample,
    )
    return calibration if folder is None else keep(calibration, manifest, config, folder)


def keep(calibration: Calibration, manifest: Manifest, config: Config, folder: Path) -> Calibration:
    """Save a calibration as the run in ``folder``, replacing an earlier one when the new one is complete.

    Args:
        calibration: The calibration.
        manifest: Identifies its counts.
        config: The effective configuration.
        folder: The run directory.

    Returns:
        The calibration as saved.
    """
    if not is_run(folder):
        (folder / PARTIAL).mkdir(exist_ok=True)  # the folder is quantkit's, even if the disk is full
    with replacing(folder, PRECISIONS) as new:
        saved = save_calibration(calibration, new)
        write_manifest(new, manifest, config)
    return saved.model_copy(update={"folder": folder})


def solved_tensors(collected: Collected, config: Config, samples: int) -> dict[str, TensorCalibration]:
    """Find the range of every tensor by every method.

    Args:
        collected: The counts.
        config: The effective configuration; its method decides the chosen range.
        samples: The number of counted samples.

    Returns:
        The chosen range and the candidates of every tensor.
    """
    methods = calibrators(config.calibrate.percentile, config.calibrate.method)
    chosen = config.calibrate.method
    tensors = {}
    for name, histogram in collected.complete(samples).items():
        candidates = solve(histogram, methods)
        best = candidates[chosen]
        tensors[name] = TensorCalibration(
            amax=best.amax,
            low=best.low,
            high=best.high,
            method=chosen,
            reason="dead: zero for every sample, so any scale serves" if histogram.is_dead else "the run's method",
            dead=histogram.is_dead,
            candidates=candidates,
        )
    return tensors


def forget_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of an interrupted pass."""
    remove_folder(folder / PARTIAL)
