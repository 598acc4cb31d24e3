"""Calibration on several machines: each counts a part of the samples, and the parts are merged."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Literal

from quantkit.config import CONFIG_FILE, Config
from quantkit.core.calibration import Calibration
from quantkit.core.errors import BadConfig, BadRun
from quantkit.core.files import sha256_of, write_npz, write_text
from quantkit.core.progress import Progress, silent
from quantkit.core.record import Record, read_record
from quantkit.core.references import is_reference
from quantkit.core.shard import WHOLE, Shard
from quantkit.core.wording import path_meant
from quantkit.datasets.stream import check_unreadable
from quantkit.graph.graph import Graph, activation_names
from quantkit.pipeline.calibration.checkpoint import Checkpoint
from quantkit.pipeline.calibration.result import Origin, finish, forget_checkpoint
from quantkit.pipeline.calibration.stage import count, first_sample, open_calibration_data, prepare_job, surveyed
from quantkit.pipeline.manifest import MANIFEST_FILE, Manifest, read_manifest, write_manifest
from quantkit.pipeline.run_directory import PART_FILE, choose_folder
from quantkit.pipeline.run_files import SAMPLE_FILE, load_sample, run_config
from quantkit.pipeline.writing import own_folder

COUNTS = "counts"  # the subfolder of a part that holds its checkpoint
log = logging.getLogger("quantkit")


class Part(Record):
    """``part.json``: the description of a shard. Its counts are in ``counts/``, its settings in ``quantkit.toml``.

    ``sample`` is the hex SHA-256 of ``sample.npz``, the first sample of the whole data. ``order`` lists all activations
    in graph order, because the shard's samples may leave some of them empty.
    """

    schema_version: Literal[1] = 1
    number: int
    of: int
    source: Origin
    order: tuple[str, ...]
    sample: str = ""

    @property
    def shard(self) -> Shard:
        """The shard that the folder holds."""
        return Shard(self.number, self.of)


def calibrate_shard(
    config: Config, shard: Shard, folder: Path | None = None, fresh: bool = False, progress: Progress = silent
) -> tuple[Path, int]:
    """Count one shard.

    Args:
        config: The effective configuration.
        shard: The shard to count.
        folder: The folder of the part; default: ``part-2-of-8`` and so on. Finished counts of the same work in it are
            kept, and an interrupted pass continues.
        fresh: Ignore earlier counts.
        progress: Displays the progress.

    Returns:
        The folder, and the number of samples that were counted.

    Raises:
        BadInput: The model, the data or a setting is wrong, or the folder holds something else.
    """
    folder = folder or Path(f"part-{shard.number}-of-{shard.of}")
    job = prepare_job(config)
    config = job.config
    opened = open_calibration_data(job, progress)
    manifest = job.manifest(opened, shard)
    previous = read_manifest(folder)
    if previous is not None and previous.shard != manifest.shard and (folder / PART_FILE).exists() and not fresh:
        raise BadRun(
            f"{folder} already holds shard {previous.shard}.", "Give another folder with -o, or --fresh to replace it."
        )
    if previous is not None and previous.same_work(manifest) and not fresh:
        log.info("%s already holds shard %s.", folder, shard)
        return folder, Checkpoint.load(folder / COUNTS).counted
    with own_folder(folder, of_part=True):
        if fresh:
            forget_checkpoint(folder)
        source = surveyed(job, opened)
        found = count(job, opened, manifest, shard, folder, progress)
        (folder / MANIFEST_FILE).unlink(missing_ok=True)  # written last, so that it never describes incomplete counts
        found.save(folder / COUNTS, manifest)
        order = (*(i.name for i in job.model.inputs), *activation_names(Graph(job.model.graph_only.graph)))
        sample = first_sample(job, opened)
        if sample is not None:
            write_npz(folder / SAMPLE_FILE, sample)
        digest = "" if sample is None else sha256_of(folder / SAMPLE_FILE)
        part = Part(number=shard.number, of=shard.of, source=source, order=order, sample=digest)
        write_text(folder / PART_FILE, part.model_dump_json(indent=1) + "\n")
        write_manifest(folder, manifest, config)
        forget_checkpoint(folder)
    return folder, found.counted


def merge(folders: Sequence[Path], output: Path | None = None) -> tuple[Calibration, Config]:
    """Merge the parts of all shards into the calibration that a single machine would have made.

    Neither the model nor the data is needed.

    Args:
        folders: The folders of the parts, in any order.
        output: The run directory; None creates a new one under ``runs/``.

    Returns:
        The calibration and its configuration.

    Raises:
        BadRun: A part is missing, given twice, damaged or from other work.
        BadConfig: A part names a function as its method.
    """
    if not folders:
        raise BadRun("No part is given.", "Name the folders that quantkit calibrate --shard wrote.")
    if missing := next((folder for folder in folders if not folder.exists()), None):
        raise BadRun(
            f"There is no folder {missing}.",
            f"{path_meant(missing)}Name the folders that quantkit calibrate --shard wrote.",
        )
    parts = [read_record(Part, folder / PART_FILE, "quantkit calibrate --shard") for folder in folders]
    manifests = [_manifest(folder, part) for folder, part in zip(folders, parts, strict=True)]
    _check(folders, parts, manifests)
    manifest = manifests[0].of_shard(WHOLE)
    first = min(range(len(parts)), key=lambda i: parts[i].number)  # independent of the order of the folders
    if not (folders[first] / CONFIG_FILE).is_file():
        raise BadRun(f"The part in {folders[first]} is damaged (no {CONFIG_FILE}).", "Count that shard again.")
    config, source = run_config(folders[first]), parts[first].source
    if is_reference(config.calibrate.method):
        raise BadConfig(
            f"The parts name a function as their method, {config.calibrate.method}, which is not called for that.",
            "Count with a method by its name; then quantkit calibrate -o RUN --method changes it.",
        )
    try:
        found = reduce(Checkpoint.merged, (_counts(folder, len(source.names)) for folder in folders))
    except ValueError as error:  # different samples of the same name, or bin widths that are not dyadic multiples
        raise BadRun(
            f"The parts do not merge: their machines had other data, or computed other activations from it ({error}).",
            "Count all shards from copies of one folder, on processors of one kind with one version of onnxruntime; or "
            "use --ray.",
        ) from error
    check_unreadable(found.skipped, source.names, source.data)
    found = found.ordered(parts[first].order)
    folder = output if output is not None else choose_folder(manifest)
    with own_folder(folder):
        digest = parts[first].sample
        sample = load_sample(folders[first] / SAMPLE_FILE, digest) if digest else None
        return finish(config, manifest, source, found, folder, sample), config


def _counts(folder: Path, samples: int) -> Checkpoint:
    counts = Checkpoint.load(folder / COUNTS)
    known = all(0 <= position < samples for position in (*counts.digests, *counts.skipped))
    if not known or not all(re.fullmatch("[0-9a-f]{64}", digest) for digest in counts.digests.values()):
        raise BadRun(f"The part in {folder} is damaged.", "Count that shard again, with --fresh.")
    return counts


def _manifest(folder: Path, part: Part) -> Manifest:
    manifest, counted = read_manifest(folder), read_manifest(folder / COUNTS)
    if manifest is None or counted is None or not counted.same_work(manifest.of_shard(part.shard)):
        raise BadRun(f"The part in {folder} is not finished.", "Give its quantkit calibrate --shard command again.")
    return manifest


def _check(folders: Sequence[Path], parts: Sequence[Part], manifests: Sequence[Manifest]) -> None:
    of = parts[0].of
    seen: dict[int, Path] = {}
    for folder, part, manifest in zip(folders, parts, manifests, strict=True):
        if part.of != of or not manifest.same_settings(manifests[0]):
            raise BadRun(
                f"The parts in {folders[0]} and {folder} are not of the same calibration.",
                "Merge parts of the same model, data, settings, number of shards and version of onnxruntime.",
            )
        if part.number in seen:
            raise BadRun(
                f"{seen[part.number]} and {folder} both hold shard {part.shard}.", "Give each shard's part once."
            )
        seen[part.number] = folder
    missing = [f"{number}/{of}" for number in range(1, of + 1) if number not in seen]
    if missing:
        raise BadRun(
            f"{len(missing)} of {of} shards are missing: {', '.join(missing[:8])}.",
            f"Make them with quantkit calibrate --shard {missing[0]}.",
        )
