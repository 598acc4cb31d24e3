"""``manifest.json``: identifies the counts of a run, so that work can be continued or used again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from quantkit.config import CPU, Config
from quantkit.core.errors import BadRun
from quantkit.core.extensions import ONNXRUNTIME, package_version
from quantkit.core.files import digest_of, make_folder, write_text
from quantkit.core.reading import LARGEST_TEXT, read_file
from quantkit.core.record import Record
from quantkit.core.shard import WHOLE, Shard
from quantkit.datasets.text_settings import TextSettings
from quantkit.pipeline.run_files import write_config
from quantkit.pipeline.run_layout import current
from quantkit.version import __version__

MANIFEST_FILE = "manifest.json"
COUNTING = 3  # increased when the way of counting changes


class Manifest(Record):
    """``manifest.json``.

    Attributes:
        settings: The digest of everything that affects the histograms, except the samples.
        samples: The digest of the samples' names and sizes.
        stamp: The digest of the samples' stamps, such as modification times; it may differ for a copy on another
            machine.
        shard: The part of the samples that was counted.
        device: Where it was counted. A GPU's activations differ from a CPU's in their last places, and so do counts.
    """

    schema_version: Literal[1] = 1
    quantkit: str = __version__
    started: str
    model: str
    model_sha256: str
    data: str
    settings: str
    samples: str
    stamp: str
    shard: str = str(WHOLE)
    device: str = CPU

    def same_settings(self, other: Manifest) -> bool:
        """True if both have the same model, data and settings, though perhaps different shards."""
        return (self.settings, self.samples) == (other.settings, other.samples)

    def same_work(self, other: Manifest) -> bool:
        """True if both have the same counts."""
        return self.same_settings(other) and (self.stamp, self.shard) == (other.stamp, other.shard)

    def of_shard(self, shard: Shard) -> Manifest:
        """Return the manifest of one shard of the same work, or of the whole."""
        return self.model_copy(update={"shard": str(shard)})


def new_manifest(
    config: Config, model_sha256: str, samples: Sequence[tuple[str, int, str]], shard: Shard = WHOLE
) -> Manifest:
    """Make the manifest of a calibration. Its digests cover everything that affects a histogram.

    Args:
        config: The effective configuration.
        model_sha256: The digest of the model.
        samples: Name, size and stamp of every sample.
        shard: The part of the samples to count.

    Returns:
        The manifest.
    """
    settings = [
        COUNTING,
        package_version(ONNXRUNTIME),  # another version may compute different activations
        model_sha256,
        config.model.batch_axis,
        config.data.samples,
        [config.data.seed, *([config.data.select] if config.data.select else [])],
        config.preprocess.model_dump(mode="json"),
        config.calibrate.tensors,
        config.calibrate.batch_size,
        config.calibrate.rounding,
        # Otherwise everything is counted, whatever is excluded from the artifacts.
        config.calibrate.exclude if config.calibrate.tensors == "quantizable" else [],
        *([config.data.text.of_samples] if config.data.text != TextSettings() else []),
        *([config.calibrate.device] if config.calibrate.device != CPU else []),
    ]
    return Manifest(
        started=now(),
        model=str(config.model.path and config.model.path.absolute()),
        model_sha256=model_sha256,
        data=str(config.data.calibration),
        settings=digest_of(settings),
        samples=digest_of([(name, size) for name, size, _ in samples]),
        stamp=digest_of([stamp for _, _, stamp in samples]),
        shard=str(shard),
        device=config.calibrate.device,
    )


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def read_manifest(folder: Path) -> Manifest | None:
    """Read the folder's manifest; None if it is missing or damaged."""
    try:
        data = read_file(current(folder, MANIFEST_FILE), LARGEST_TEXT, BadRun, "manifest")
        return Manifest.model_validate_json(data)
    except (OSError, BadRun, ValidationError):
        return None


def write_manifest(folder: Path, manifest: Manifest, config: Config) -> None:
    """Write ``manifest.json`` and the effective ``quantkit.toml``."""
    make_folder(folder)
    write_config(folder, config)
    write_text(folder / MANIFEST_FILE, manifest.model_dump_json(indent=1) + "\n")
