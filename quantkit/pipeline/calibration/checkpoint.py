"""The state of an interrupted calibration pass, or the result of a shard: counts, and how many samples they cover."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from quantkit.core.errors import BadInput, BadRun
from quantkit.core.files import atomic_folder, recover_folder, write_text
from quantkit.core.statistics.collected import Collected
from quantkit.core.statistics.files import load_collected, save_collected
from quantkit.pipeline.manifest import MANIFEST_FILE, Manifest, read_manifest

POSITION_FILE = "position.json"


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
            note = {
                "done": self.done,
                "counted": self.counted,
                "digests": self.digests,
                "skipped": self.skipped,
                "not_finite": sorted(self.not_finite),
                "masked": sorted(self.masked),
            }
            write_text(temporary / POSITION_FILE, json.dumps(note))
            write_text(temporary / MANIFEST_FILE, manifest.model_dump_json())

    @classmethod
    def load(cls, folder: Path) -> Checkpoint:
        """Read a checkpoint. Raises BadRun for a damaged one."""
        try:
            note = json.loads((folder / POSITION_FILE).read_text(encoding="utf-8"))
            return cls(
                load_collected(folder),
                int(note["done"]),
                int(note["counted"]),
                {int(index): str(digest) for index, digest in note["digests"].items()},
                {int(index): str(why) for index, why in note["skipped"].items()},
                frozenset(map(str, note["not_finite"])),
                frozenset(map(str, note["masked"])),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadRun(f"{folder} is damaged ({error}).", "Calibrate again with --fresh.") from error


def resumable(folder: Path, manifest: Manifest) -> Checkpoint | None:
    """Return the folder's checkpoint of the same work; None if there is none, or if it is damaged."""
    recover_folder(folder)
    earlier = read_manifest(folder)
    if earlier is None or not earlier.same_work(manifest):
        return None
    try:
        return Checkpoint.load(folder)
    except BadInput:
        return None
