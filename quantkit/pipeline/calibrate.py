"""Model and data in, ranges out."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path

from quantkit.calibrators import calibrators, solve
from quantkit.config import Config
from quantkit.core.calibration import CALIBRATION_FILE, Calibration, DataRef, ModelRef, TensorCalibration
from quantkit.core.errors import BadInput
from quantkit.core.histogram import Histogram
from quantkit.core.progress import Progress, silent
from quantkit.core.shard import WHOLE
from quantkit.datasets import OpenedData, Stream, open_dataset
from quantkit.model.file import ModelFile, open_model
from quantkit.pipeline.collect import collect, forget_checkpoint
from quantkit.pipeline.findings import findings
from quantkit.pipeline.run_directory import (
    ARTIFACT_FILE,
    ARTIFACTS,
    MANIFEST_FILE,
    PARTIAL,
    Manifest,
    choose_folder,
    claim,
    new_manifest,
    now,
    read_manifest,
    write_config,
    write_manifest,
)
from quantkit.version import __version__

log = logging.getLogger("quantkit")
RESULTS = ("comparison.json", "report.html", "summary.md", "junit.xml")


def calibrate(
    config: Config,
    folder: Path | None = None,
    in_memory: bool = False,
    fresh: bool = False,
    progress: Progress = silent,
) -> Calibration:
    """Find the range of every float activation and keep the result in a run directory.

    ``folder`` None picks one under ``runs/``; ``in_memory`` keeps everything out of files. Histograms that the folder
    already holds for the same model, data and settings are used again, so that another method reads no image, and an
    interrupted pass goes on; ``fresh`` starts over. Raises BadInput.
    """
    methods = calibrators(config.calibrate.percentile)
    if config.calibrate.method not in methods:
        raise BadInput(
            f"There is no calibration method {config.calibrate.method!r}.", f"Choose one of: {', '.join(methods)}."
        )
    if config.model.path is None:
        raise BadInput("No model is given.", "Name an ONNX file, or set [model] path in quantkit.toml.")
    if config.data.calibration is None:
        raise BadInput("No calibration data is given.", "Give --data, or set [data] calibration in quantkit.toml.")
    model = open_model(config.model.path)
    sha256 = model.sha256()
    earlier = _finished(folder, config, sha256) if folder is not None and not fresh else None
    if earlier is not None and not config.data.calibration.exists():
        log.warning("%s is gone; the run's own histograms are used.", config.data.calibration)
        return _solved(earlier, config)

    opened = open_calibration_data(config, model)
    stamps = [f"{opened.dataset.names[i]}:{opened.dataset.stamp(i)}" for i in opened.indices]
    manifest = new_manifest(config, sha256, stamps)
    if not in_memory and folder is None:
        folder = choose_folder(manifest)
    if folder is not None and not in_memory:
        previous = read_manifest(folder)
        if fresh:
            forget_checkpoint(folder)
        elif previous is not None and previous.same_work(manifest):
            log.info("Using the histograms in %s again; no image is read.", folder)
            return _solved(Calibration.load(folder), config)
        claim(folder)
    try:
        return _calibrated(config, model, opened, manifest, None if in_memory else folder, progress)
    except BaseException:
        if folder is not None and not in_memory and not any(folder.iterdir()):
            folder.rmdir()
        raise


def open_calibration_data(config: Config, model: ModelFile) -> OpenedData:
    """The calibration samples that the configuration chooses. Raises BadInput."""
    assert config.data.calibration is not None
    return open_dataset(
        config.data.calibration,
        model.inputs,
        config.preprocess,
        config.data.samples,
        config.data.seed,
        config.class_names(),
    )


def _calibrated(
    config: Config, model: ModelFile, opened: OpenedData, manifest: Manifest, folder: Path | None, progress: Progress
) -> Calibration:
    for note in opened.notes:
        log.info("%s", note)
    warnings = list(opened.warnings)
    for warning in warnings:
        log.warning("%s", warning)
    exclude = config.calibrate.exclude
    stream = Stream(opened.dataset, [int(i) for i in opened.indices])
    found = collect(
        model,
        stream,
        config.calibrate.batch_size,
        lambda name: not any(fnmatchcase(name, pattern) for pattern in exclude),
        WHOLE,
        folder,
        manifest,
        progress,
    )
    if not found.counted:
        raise BadInput(f"No sample of {stream.dataset.source} could be read.", "Check the files.")
    histograms, samples = found.collected.histograms, found.counted
    found = findings(stream, histograms, model, exclude)
    for finding in found:
        log.warning("%s", finding)
    warnings += found
    names = opened.dataset.names
    calibration = Calibration(
        created=now(),
        versions={name: version(name) for name in ("numpy", "onnx", "onnxruntime")} | {"quantkit": __version__},
        model=ModelRef(path=str(model.path.absolute()), sha256=manifest.model_sha256),
        data=DataRef(
            path=str(Path(opened.dataset.source).absolute()),
            sha256=stream.sha256(),
            skipped={names[i]: why for i, why in stream.skipped.items()},
        ),
        preprocess=opened.dataset.preprocess,
        samples=samples,
        batch_size=config.calibrate.batch_size,
        seed=config.data.seed,
        method=config.calibrate.method,
        exclude=tuple(exclude),
        warnings=tuple(warnings),
        tensors=_tensors(histograms, config),
    ).attach(histograms)
    if folder is not None:
        # In this order nothing that is left behind at any moment vouches for what is not there, or not its own.
        (folder / PARTIAL).mkdir(exist_ok=True)
        for name in (MANIFEST_FILE, CALIBRATION_FILE):
            (folder / name).unlink(missing_ok=True)
        _forget_results(folder, ("fp32", "fp16", "int8"))
        calibration.save(folder)
        write_manifest(folder, manifest, config)
        forget_checkpoint(folder)
    return calibration


def _tensors(histograms: Mapping[str, Histogram], config: Config) -> dict[str, TensorCalibration]:
    methods = calibrators(config.calibrate.percentile)
    chosen = config.calibrate.method
    tensors = {}
    for name, histogram in histograms.items():
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


def _finished(folder: Path, config: Config, model_sha256: str) -> Calibration | None:
    """The folder's calibration, if it is finished and made with the same settings (its data is not looked at)."""
    manifest = read_manifest(folder)
    same = manifest is not None and manifest.settings == new_manifest(config, model_sha256, []).settings
    return Calibration.load(folder) if same else None


def _solved(calibration: Calibration, config: Config) -> Calibration:
    """The same histograms, solved anew for the configured method, and saved."""
    folder = calibration.folder
    assert folder is not None
    histograms = calibration.histograms
    tensors = _tensors(histograms, config)
    write_config(folder, config)
    if tensors == calibration.tensors:
        return calibration
    solved = calibration.model_copy(
        update={"created": now(), "method": config.calibrate.method, "tensors": tensors}
    ).attach(histograms)
    _forget_results(folder, ("int8",))
    solved.save(folder)
    return solved


def _forget_results(folder: Path, precisions: Sequence[str]) -> None:
    """Remove what was made or measured with ranges that are about to be replaced."""
    for name in RESULTS:
        (folder / name).unlink(missing_ok=True)
    for precision in precisions:
        for record in folder.glob(f"{ARTIFACTS}/*/{precision}/{ARTIFACT_FILE}"):
            shutil.rmtree(record.parent)
