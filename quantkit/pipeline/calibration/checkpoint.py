"""The state of an interrupted calibration pass, or the result of a shard: counts, and how many samples they cover."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from quantkit.core.errors import BadRun
from quantkit.core.files import atomic_folder, digest_of, recover_folder, sha256_of, write_text
from quantkit.core.record import Record, read_record
from quantkit.core.statistics.collected import Collected
from quantkit.core.statistics.files import COLLECTED_FILES, load_collected, save_collected
from quantkit.pipeline.manifest import MANIFEST_FILE, Manifest, read_manifest

POSITION_FILE = "position.json"
log = logging.getLogger("quantkit")


@dataclass(frozen=True)
class Checkpoint:
    """The counts of a part of a pass.

    Attributes:
        collected: The counts.
        done: The number of positions that are finished.
        counted: The number of samples that were read at these positions.
        digests: The samples' digests by position; see :class:`~quantkit.datasets.stream.Stream`.
        skipped: The reasons why samples were skipped, by position.
        not_finite: The excluded tensors that held NaN or Inf; their counts are incomplete.
        masked: The tensors that held -Inf, as behind an attention mask; their counts are incomplete, too.
    """

    collected: Collected
    done: int
    counted: int
    digests: dict[int, str]
    skipped: dict[int, str]
    not_finite: frozenset[str] = frozenset()
    masked: frozenset[str] = frozenset()

    def ordered(self, names: Sequence[str]) -> Checkpoint:
        """Return the same with the tensors in the order of ``names``, without those whose counts are incomplete."""
        whole = [name for name in names if name not in self.not_finite | self.masked]
        return replace(self, collected=self.collected.ordered(whole))

    def merged(self, other: Checkpoint) -> Checkpoint:
        """Merge the checkpoints of two shards; the result is that of one pass over both.

        Both shards have read the first batch. Raises ValueError if they read different bytes of a sample, or if their
        bin widths do not match.
        """
        if any(self.digests[position] != other.digests[position] for position in self.digests.keys() & other.digests):
            raise ValueError("different bytes of the same samples")
        return Checkpoint(
            self.collected.merged(other.collected),
            self.done + other.done,
            self.counted + other.counted,
            self.digests | other.digests,
            self.skipped | other.skipped,
            self.not_finite | other.not_finite,
            self.masked | other.masked,
        )

    def save(self, folder: Path, manifest: Manifest) -> None:
        """Write the checkpoint and its manifest to ``folder``, which is replaced as a whole."""
        with atomic_folder(folder) as temporary:
            save_collected(temporary, self.collected)
            note = Position(
                done=self.done,
                counted=self.counted,
                digests=self.digests,
                skipped=self.skipped,
                not_finite=tuple(sorted(self.not_finite)),
                masked=tuple(sorted(self.masked)),
                files={name: sha256_of(temporary / name) for name in COLLECTED_FILES},
            )
            write_text(temporary / POSITION_FILE, note.signed().model_dump_json())
            write_text(temporary / MANIFEST_FILE, manifest.model_dump_json())

    @classmethod
    def load(cls, folder: Path, positions: int | None = None) -> Checkpoint:
        """Read a checkpoint.

        Args:
            folder: Its folder.
            positions: The number of positions of the pass, if it is known.

        Raises:
            BadRun: It is damaged, or of another pass.
        """
        again = "quantkit calibrate --fresh"
        note = read_record(Position, folder / POSITION_FILE, again)
        if note.signed() != note:
            raise BadRun(f"{folder / POSITION_FILE} is damaged (sha256: it is of other contents).", f"Give {again}.")
        if positions is not None and note.done > positions:
            raise BadRun(f"{folder / POSITION_FILE} is damaged (done: more than {positions}).", f"Give {again}.")
        collected = load_collected(folder, note.files)
        found = frozenset(note.not_finite), frozenset(note.masked)
        return cls(collected, note.done, note.counted, note.digests, note.skipped, *found)


class Position(Record):
    """``position.json``: how far a checkpoint goes, and the digests of everything in it.

    Attributes:
        files: The hex SHA-256 of the other files, by name.
        sha256: The hex SHA-256 of this record without it.
    """

    done: int = Field(ge=0)
    counted: int = Field(ge=0)
    digests: dict[Annotated[int, Field(ge=0)], Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]
    skipped: dict[Annotated[int, Field(ge=0)], str]
    not_finite: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    files: dict[str, str]
    sha256: str = ""

    def signed(self) -> Position:
        """Return the same with its digest."""
        bare = self.model_copy(update={"sha256": ""})
        return bare.model_copy(update={"sha256": digest_of(bare.model_dump(mode="json"))})

    @model_validator(mode="after")
    def _check(self) -> Position:
        if self.counted > self.done:
            raise ValueError(f"counted = {self.counted} of done = {self.done}")
        return self


def resumable(folder: Path, manifest: Manifest, positions: int) -> Checkpoint | None:
    """Return the folder's checkpoint of the same work; None if there is none, or, with a warning, a damaged one.

    Args:
        folder: The folder of the checkpoint.
        manifest: Identifies the work.
        positions: The number of positions of the pass.
    """
    recover_folder(folder)
    earlier = read_manifest(folder)
    if earlier is None or not earlier.same_work(manifest):
        return None
    try:
        return Checkpoint.load(folder, positions)
    except BadRun as error:
        log.warning("The interrupted calibration cannot go on, and starts over: %s", error.what)
        return None
