"""The calibration stage: finds ranges from a model and data."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantkit.calibrators import calibrators
from quantkit.config import CPU, Config
from quantkit.core.calibration import Calibration
from quantkit.core.errors import BadConfig, BadInput
from quantkit.core.progress import Progress, silent
from quantkit.core.shard import WHOLE, Shard
from quantkit.core.wildcards import matches
from quantkit.core.wording import choice_of
from quantkit.datasets import OpenedData, Stream, open_dataset
from quantkit.datasets.checks import warnings_before
from quantkit.datasets.stream import WORKERS, stacked
from quantkit.graph.fused import fused_outputs
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile, open_model
from quantkit.graph.self_description import resolved
from quantkit.pipeline.calibration.checkpoint import Checkpoint
from quantkit.pipeline.calibration.features import diverse_samples
from quantkit.pipeline.calibration.one_pass import Counting, collect
from quantkit.pipeline.calibration.result import Origin, finish, forget_checkpoint, keep, solved_tensors
from quantkit.pipeline.calibration.warnings import beyond_onnxruntime, idle_patterns
from quantkit.pipeline.keeping import take_back
from quantkit.pipeline.manifest import Manifest, new_manifest, now, read_manifest
from quantkit.pipeline.replacement import replacing
from quantkit.pipeline.run_directory import choose_folder, find_same_work, is_run
from quantkit.pipeline.run_files import load_calibration, save_calibration, write_config
from quantkit.pipeline.writing import own_folder
from quantkit.targets.cpu import usable_cores

log = logging.getLogger("quantkit")
CountAll = Callable[["Job", OpenedData, Manifest, "Path | None", Progress], Checkpoint]


def calibrate(
    config: Config,
    folder: Path | None = None,
    in_memory: bool = False,
    fresh: bool = False,
    progress: Progress = silent,
    count_all: CountAll | None = None,
    data: Any = None,
) -> Calibration:
    """Find the range of every float activation.

    Existing histograms of the same model, data and settings are used again, from the folder or from any run under
    ``runs/``, so that another method reads no image. An interrupted pass continues.

    Args:
        config: The effective configuration.
        folder: The run directory; None creates one under ``runs/``.
        in_memory: Write no files.
        fresh: Ignore earlier results.
        progress: Displays the progress.
        count_all: Counts the samples; default: :func:`count_here`.
        data: A Python object with samples, instead of ``[data] calibration``.

    Returns:
        The calibration.

    Raises:
        BadInput: The model, the data or a setting is wrong.
    """
    count_all = count_all or count_here
    job = prepare_job(config, data)
    config = job.config
    if folder is not None and not fresh and isinstance(job.data, Path) and not job.data.exists():
        earlier = _finished(folder, job)
        if earlier is not None:
            log.warning("%s is gone; the run's own histograms are used.", job.data)
            _warn_of_idle(job)
            with own_folder(folder):
                return _solved(earlier, config)
    opened = open_calibration_data(job, progress)
    manifest = job.manifest(opened)
    if in_memory:
        source, found = surveyed(job, opened), count_all(job, opened, manifest, None, progress)
        return finish(config, manifest, source, found, None, first_sample(job, opened))
    reused = None if fresh else _same_counts(manifest, folder, config)
    if folder is None:
        folder = choose_folder(manifest)
    if reused is not None:
        log.info("Using the histograms in %s again; no image is read.", reused.folder)
        _warn_of_idle(job)
        with own_folder(folder):
            if reused.folder == folder:
                return _solved(reused, config)
            calibration = _with_ranges(reused, config)
            return keep(calibration, manifest, config, folder)
    with own_folder(folder):
        if fresh:
            forget_checkpoint(folder)
        source = surveyed(job, opened)
        return finish(
            config,
            manifest,
            source,
            count_all(job, opened, manifest, folder, progress),
            folder,
            first_sample(job, opened),
        )


@dataclass(frozen=True)
class Job:
    """A checked configuration with its opened model.

    ``data`` is a path, or a Python object with samples; ``warnings`` are about the model.
    """

    config: Config
    model: ModelFile
    model_sha256: str
    data: Any
    warnings: tuple[str, ...] = ()

    def manifest(self, opened: OpenedData, shard: Shard = WHOLE) -> Manifest:
        """Make the manifest that identifies the counts of a shard of these samples."""
        data = opened.dataset
        samples = [(data.names[i], data.size(i), data.stamp(i)) for i in opened.indices]
        manifest = new_manifest(self.config, self.model_sha256, samples, shard)
        return manifest if isinstance(self.data, Path) else manifest.model_copy(update={"data": opened.location})

    def counting(self, cores: int | None = None) -> Counting:
        """Return the settings of a pass on so many ``cores``; None means all."""

        def excluded(name: str) -> bool:
            return matches(name, self.config.calibrate.exclude)

        inside: set[str] = set()
        if self.config.calibrate.tensors == "quantizable":
            fused = fused_outputs(Graph(self.model.graph_only.graph))
            inside = {name for name, after in fused.items() if not excluded(after)}

        def keep(name: str) -> bool:
            return name not in inside

        own = self.config.calibrate
        return Counting(self.model, keep, excluded, own.batch_size, cores, own.rounding == "least-squares")


def prepare_job(config: Config, data: Any = None) -> Job:
    """Check the settings and open the model, before any long work.

    Args:
        config: The effective configuration.
        data: A Python object with samples, instead of ``[data] calibration``.

    Returns:
        The checked configuration with the opened model.

    Raises:
        BadInput: The method is unknown, no data is given, the model cannot be read, or onnxruntime can compute nothing
            of it that has ranges.
    """
    methods = calibrators(config.calibrate.percentile, config.calibrate.method)
    if config.calibrate.method not in methods:
        raise BadConfig(
            f"There is no calibration method {config.calibrate.method!r}.", choice_of(config.calibrate.method, methods)
        )
    if config.model.path is None:
        raise BadConfig("No model is given.", "Name an ONNX file, or set [model] path in quantkit.toml.")
    data = config.data.calibration if data is None else data
    if data is None:
        raise BadConfig(
            "No calibration data is given.", "Give it (--data, data=), or set [data] calibration in quantkit.toml."
        )
    model = open_model(config.model.path, config.model.batch_axis)
    preprocess, notes = resolved(config.preprocess, model)
    for note in notes:
        log.info("%s", note)
    config = config.model_copy(update={"preprocess": preprocess})
    return Job(config, model, model.sha256(), data, beyond_onnxruntime(model))


def open_calibration_data(job: Job, progress: Progress = silent) -> OpenedData:
    """Open the data and choose the calibration samples. Raises BadInput."""
    config, wanted = job.config, job.config.data
    opened = open_dataset(
        job.data,
        job.model.inputs,
        config.preprocess,
        wanted.samples,
        wanted.seed,
        config.class_names(),
        text=config.data.text.beside(job.model.path),
        select=wanted.select,
    )
    if wanted.select != "diverse" or len(opened.indices) <= wanted.samples:
        return opened
    return diverse_samples(opened, job.model, wanted.samples, progress)


def count(
    job: Job, opened: OpenedData, manifest: Manifest, shard: Shard, folder: Path | None, progress: Progress
) -> Checkpoint:
    """Count the samples of a shard in this process.

    Args:
        job: The checked configuration.
        opened: The chosen samples.
        manifest: Identifies the work.
        shard: The part to count.
        folder: The folder for checkpoints; None saves none.
        progress: Displays the progress.

    Returns:
        The counts.

    Raises:
        BadInput: An activation is not finite, or too many samples are unreadable.
        BackendMissing: The GPU that is asked for, or what using it needs, is not there.
    """
    device = job.config.calibrate.device
    if device != CPU:
        from quantkit.pipeline.calibration.pass_on_gpu import collect_on_gpu

        stream = chosen(opened, job.model, usable_cores())
        return collect_on_gpu(job.counting(), stream, shard, folder, manifest, progress, device)
    return collect(job.counting(), chosen(opened, job.model), shard, folder, manifest, progress)


def chosen(opened: OpenedData, model: ModelFile, workers: int = WORKERS) -> Stream:
    """Make a stream of the chosen samples, as the model takes them, read by so many threads."""
    return Stream(opened.dataset, [int(i) for i in opened.indices], model.batch_axes, workers)


def first_sample(job: Job, opened: OpenedData) -> dict[str, Any] | None:
    """Return the first readable sample, repeated to the model's fixed batch; None if none can be read."""
    stream = chosen(opened, job.model)
    found = next(stream.samples(range(len(stream.indices))), None)
    return None if found is None else dict(stacked([found] * (job.model.fixed_batch or 1), stream.axes).inputs)


def count_here(job: Job, opened: OpenedData, manifest: Manifest, folder: Path | None, progress: Progress) -> Checkpoint:
    """Count all samples in this process; see :func:`count`."""
    return count(job, opened, manifest, WHOLE, folder, progress)


def surveyed(job: Job, opened: OpenedData) -> Origin:
    """Describe the data, and log all warnings that can be given before the pass."""
    for note in opened.notes:
        log.info("%s", note)
    indices = [int(i) for i in opened.indices]
    warnings = [
        *opened.warnings,
        *warnings_before(opened.dataset, indices),
        *idle_patterns(job.model, job.config.calibrate.exclude),
        *job.warnings,
    ]
    for warning in warnings:
        log.warning("%s", warning)
    return Origin(
        data=opened.location,
        names=tuple(opened.dataset.names[i] for i in indices),
        preprocess=opened.dataset.preprocess,
        warnings=tuple(warnings),
    )


def _warn_of_idle(job: Job) -> None:
    """Warn of wildcards that match nothing, where no survey of the samples does."""
    for warning in idle_patterns(job.model, job.config.calibrate.exclude):
        log.warning("%s", warning)


def _finished(folder: Path, job: Job) -> Calibration | None:
    """Return the folder's calibration if it is finished and has the same settings; its data is not compared."""
    manifest = read_manifest(folder) if is_run(folder) else None
    wanted = new_manifest(job.config, job.model_sha256, [])
    same = manifest is not None and (manifest.settings, manifest.data) == (wanted.settings, wanted.data)
    return load_calibration(folder) if same else None


def _same_counts(wanted: Manifest, folder: Path | None, config: Config) -> Calibration | None:
    """Return a run with the same counts; None if there is none. Raises BadInput only if ``folder`` itself is damaged.

    Excluded tensors that were not finite are missing from the counts. A run is not used if such a tensor is not
    excluded now.
    """
    for run in find_same_work(wanted, folder):
        try:
            found = load_calibration(run)
            if all(matches(name, config.calibrate.exclude) for name in found.not_finite):
                return found
        except BadInput as error:
            if run == folder:
                raise
            log.warning("The run in %s is not used: %s", run, error)
    return None


def _with_ranges(calibration: Calibration, config: Config) -> Calibration:
    """Solve the same histograms for the configured method; the model may have been moved."""
    assert config.model.path is not None
    update = {
        "created": now(),
        "model": calibration.model.model_copy(update={"path": str(config.model.path.absolute())}),
        "method": config.calibrate.method,
        "exclude": tuple(config.calibrate.exclude),
        "biases": {},
        "tuned": None,
        "equalize_sums": False,
        "tensors": solved_tensors(calibration.collected, config, calibration.samples),
    }
    return calibration.model_copy(update=update)


def _solved(calibration: Calibration, config: Config) -> Calibration:
    """Solve a run in place for the configured method, and save it."""
    folder = calibration.folder
    assert folder is not None
    solved = _with_ranges(calibration, config)
    own = calibration.tensors, calibration.exclude, calibration.tuned  # biases may be all that tuning changed
    same = (solved.tensors, solved.exclude, None) == own
    if same and solved.model == calibration.model:
        write_config(folder, config)
        return calibration
    if same:  # the model has moved, which no result depends on
        write_config(folder, config)
        return save_calibration(solved, folder)
    with replacing(folder, ("int8",), kept_as=calibration.method) as new:
        saved = save_calibration(solved, new)
        write_config(new, config)
    take_back(folder, saved.method)
    return saved.model_copy(update={"folder": folder})
