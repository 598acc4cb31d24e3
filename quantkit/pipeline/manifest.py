"""``manifest.json``: what identifies the counts of a run, so that work can go on or be used again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from quantkit.config import Config
from quantkit.core.files import digest_of, make_folder, write_text
from quantkit.core.record import Record
from quantkit.core.shard import WHOLE, Shard
from quantkit.pipeline.run_files import write_config
from quantkit.version import __version__

MANIFEST_FILE = "manifest.json"
COUNTING = 1  # raised when the same activations come to be counted otherwise


class Manifest(Record):
    """``manifest.json``.

    Three digests: ``settings`` of everything that decides the histograms but the samples, ``samples`` of their names
    and sizes, ``stamp`` of their times of change, too, which a copy on another machine need not share.
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

    def same_settings(self, other: Manifest) -> bool:
        """True if both come from the same model, data and settings, if perhaps from different shards of the data."""
        return (self.settings, self.samples) == (other.settings, other.samples)

    def same_work(self, other: Manifest) -> bool:
        """True if both make the same counts."""
        return self.same_settings(other) and (self.stamp, self.shard) == (other.stamp, other.shard)

    def of_shard(self, shard: Shard) -> Manifest:
        """The manifest of one shard of the same work, or of the whole."""
        return self.model_copy(update={"shard": str(shard)})


def new_manifest(
    config: Config, model_sha256: str, samples: Sequence[tuple[str, int, str]], shard: Shard = WHOLE
) -> Manifest:
    """The manifest of a calibration about to start. Everything that changes a histogram goes into its digests."""
    settings = [
        COUNTING,
        version("onnxruntime"),  # another one may compute other activations
        model_sha256,
        config.data.samples,
        config.data.seed,
        config.preprocess.model_dump(mode="json"),
        config.calibrate.tensors,
        config.calibrate.batch_size,
        # Elsewhere all is counted, whatever is left out of the artifacts.
        config.calibrate.exclude if config.calibrate.tensors == "quantizable" else [],
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
    )


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def read_manifest(folder: Path) -> Manifest | None:
    """The folder's manifest; None where there is none that can be read."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):
        return None


def write_manifest(folder: Path, manifest: Manifest, config: Config) -> None:
    """Write ``manifest.json`` and the effective ``quantkit.toml``."""
    make_folder(folder)
    write_config(folder, config)
    write_text(folder / MANIFEST_FILE, manifest.model_dump_json(indent=1) + "\n")
