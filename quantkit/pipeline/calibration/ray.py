"""Calibration on a Ray cluster: one task per shard, merged as they finish; lost tasks are repeated."""

from __future__ import annotations

import logging
import math
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

from quantkit.config import Config
from quantkit.core.errors import BackendMissing, BadData
from quantkit.core.files import make_folder, write_text
from quantkit.core.progress import Progress, silent
from quantkit.core.shard import Shard
from quantkit.datasets import OpenedData
from quantkit.datasets.stream import check_unreadable
from quantkit.pipeline.calibration.checkpoint import Checkpoint, resumable
from quantkit.pipeline.calibration.one_pass import collect, look_at_first_batch
from quantkit.pipeline.calibration.stage import CountAll, Job, chosen, open_calibration_data, prepare_job
from quantkit.pipeline.calibration.workers import FirstBatch
from quantkit.pipeline.manifest import MANIFEST_FILE, Manifest
from quantkit.pipeline.run_directory import PARTIAL
from quantkit.runtime.activations import Runner

SAMPLES_A_SHARD = 16  # small enough that a lost shard costs little, large enough to justify loading the model
MOST_SHARDS = 4096
RETRIES = 3  # for a shard whose worker or machine is lost


def counted_on_ray(address: str) -> CountAll:
    """Return a function that counts on a Ray cluster.

    Every machine of the cluster needs quantkit, and the model and the data under the same paths. The function raises
    BackendMissing if Ray or the cluster is missing.

    Args:
        address: The address of the cluster; "auto" is the cluster that this machine belongs to, or a new one on it.
    """

    def count_all(
        job: Job, opened: OpenedData, manifest: Manifest, folder: Path | None, progress: Progress
    ) -> Checkpoint:
        with _cluster(address) as ray:
            return _count(ray, job, opened, manifest, folder, progress)

    return count_all


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    try:
        import ray
    except ImportError as error:
        raise BackendMissing("Ray is not installed.", "Install it with: pip install 'quantkit-int8[ray]'.") from error
    own = not ray.is_initialized()
    if own:
        try:
            ray.init(address=None if address == "auto" else address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise BackendMissing(
                f"There is no Ray cluster at {address} ({error}).", "Start one with: ray start --head"
            ) from error
    try:
        yield ray
    finally:
        if own:
            ray.shutdown()


def _count(
    ray: Any, job: Job, opened: OpenedData, manifest: Manifest, folder: Path | None, progress: Progress
) -> Checkpoint:
    """Count all shards, reusing those that an interrupted attempt left in ``folder``."""
    stream, counting = chosen(opened, job.model), job.counting()
    samples = len(stream.indices)
    of = min(MOST_SHARDS, math.ceil(samples / max(SAMPLES_A_SHARD, counting.step)))
    sizes = {shard: len(shard.positions(samples, counting.step)) for shard in (Shard(n, of) for n in range(1, of + 1))}
    kept = folder / PARTIAL if folder else None
    found: dict[Shard, Checkpoint] = {}
    if kept:
        write_text(make_folder(kept) / MANIFEST_FILE, manifest.model_dump_json())  # identifies the unfinished run
        earlier = {shard: resumable(_place(kept, shard), manifest.of_shard(shard), sizes[shard]) for shard in sizes}
        found = {shard: part for shard, part in earlier.items() if part is not None}
    total = reduce(Checkpoint.merged, found.values()) if found else None
    session = counting.session(threads=1)
    first = ray.put(look_at_first_batch(counting, Runner(session), stream)[0])
    names = session.names
    del session
    task = ray.remote(num_cpus=1, max_retries=RETRIES)(count_shard)
    config, text = _absolute(job.config).model_dump_json(), manifest.model_dump_json()
    waiting = {task.remote(config, text, first, shard): shard for shard in sizes if shard not in found}
    with progress("calibrating", samples, "images", sum(sizes[shard] for shard in found)) as advance:
        try:
            while waiting:
                (ready,), _ = ray.wait(list(waiting), num_returns=1)
                shard = waiting.pop(ready)
                part = _result(ray, ready, shard)
                if kept:
                    part.save(_place(kept, shard), manifest.of_shard(shard))
                total = part if total is None else total.merged(part)
                advance(sizes[shard])
        finally:
            for unfinished in waiting:  # after an interruption; the cluster may be shared
                ray.cancel(unfinished)
    assert total is not None  # there is at least one shard
    check_unreadable(total.skipped, stream.names, opened.dataset.source)
    return total.ordered(names)


def count_shard(config: str, manifest: str, first: FirstBatch, shard: Shard) -> Checkpoint:
    """Count one shard on one core, as a Ray task.

    Args:
        config: The configuration, as JSON.
        manifest: The manifest of the whole work, as JSON.
        first: The first batch's statistics.
        shard: The part to count.

    Returns:
        The counts.

    Raises:
        BadInput: The model or the data differs on this machine.
    """
    job = prepare_job(Config.model_validate_json(config))
    opened = open_calibration_data(job)
    own, asked = job.manifest(opened), Manifest.model_validate_json(manifest)
    if not own.same_settings(asked):
        raise BadData(
            f"{job.model.path} or {opened.dataset.source} differs on the machine {platform.node()}.",
            "Keep both on a file system that all machines of the cluster share.",
        )
    return collect(job.counting(cores=1), chosen(opened, job.model), shard, None, own, silent, first)


def _result(ray: Any, ready: Any, shard: Shard) -> Checkpoint:
    try:
        part: Checkpoint = ray.get(ready)
        return part
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise BackendMissing(
            f"Shard {shard} was lost {RETRIES + 1} times ({type(error).__name__}).",
            "Look at the cluster's memory and logs; the same command goes on with the shards that are left.",
        ) from error


def _place(kept: Path, shard: Shard) -> Path:
    return kept / f"shard-{shard.number}-of-{shard.of}"


def _absolute(config: Config) -> Config:
    """Make the paths absolute, because workers run in other folders."""
    model, data = config.model.path, config.data.calibration
    assert model is not None and data is not None
    return config.with_values("model", path=model.absolute()).with_values("data", calibration=data.absolute())
