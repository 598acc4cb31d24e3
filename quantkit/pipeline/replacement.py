"""Replaces the calibration of a run as a whole: the old one stays until the new one is complete.

New files are written to a folder beside the old ones, which is then renamed to ``.next``. From that moment on the new
calibration is valid: whoever writes into the run next completes the replacement, if it was interrupted.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from quantkit.core.artifact import PRECISIONS
from quantkit.core.errors import BadRun
from quantkit.core.files import TEMPORARY, remove_folder, sync_folder, write_text, writing_to
from quantkit.pipeline.keeping import forget_methods, forget_results, is_compared, keep_results, make_room
from quantkit.pipeline.manifest import MANIFEST_FILE
from quantkit.pipeline.run_directory import PARTIAL
from quantkit.pipeline.run_layout import NEXT

# What not every calibration has: left behind, it would look like the new one's.
OPTIONAL = ("biases.npz", "sample.npz")
OUTDATED_FILE = "outdated.json"  # in NEXT: which artifacts are of the old calibration, and which files go
log = logging.getLogger("quantkit")


@contextmanager
def replacing(
    folder: Path, outdated: Sequence[str], without_manifest: bool = False, kept_as: str = ""
) -> Iterator[Path]:
    """Yield a folder for new files of the run in ``folder``, which must be locked; then put them in place.

    Args:
        folder: The run directory.
        outdated: The precisions whose artifacts are outdated with the old files; results always are.
        without_manifest: The new calibration has no manifest, and that of the old one goes.
        kept_as: The method whose folder results and outdated artifacts are moved to; empty removes them, along with
            those of all other methods.

    Raises:
        BadInput: The disk is full. The run is unchanged then, as after any failure in the block.
    """
    with writing_to(folder / NEXT):
        staging = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=folder))
        try:
            yield staging
            lacks = [name for name in OPTIONAL if not (staging / name).exists()]
            note = {
                "precisions": list(outdated),
                "without_manifest": without_manifest,
                "kept_as": kept_as,
                "lacks": lacks,
            }
            write_text(staging / OUTDATED_FILE, json.dumps(note))
            sync_folder(staging)
            if kept_as:
                make_room(folder, kept_as)
            staging.replace(folder / NEXT)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    complete_replacement(folder)


def complete_replacement(folder: Path) -> None:
    """Put the files of ``.next`` in place, if there is one, and move away what belongs to the old calibration.

    Raises:
        BadRun: quantkit did not write ``.next``.
    """
    new = folder / NEXT
    if not new.exists():
        return
    try:
        if new.is_symlink():
            raise ValueError("it is a link")
        note = json.loads((new / OUTDATED_FILE).read_text(encoding="utf-8"))
        outdated = [precision for precision in PRECISIONS if precision in note["precisions"]]
        without_manifest = note["without_manifest"] is True
        kept_as = str(note.get("kept_as", ""))
        lacks = [name for name in OPTIONAL if name in note.get("lacks", ())]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRun(f"{new} is damaged ({error}).", "Remove it; the former calibration is there.") from error
    if kept_as:
        keep_results(folder, kept_as, outdated)
    else:
        if is_compared(folder):
            log.info("What was measured of the earlier calibration in %s is removed.", folder)
        forget_results(folder, outdated)
        forget_methods(folder, outdated)
    if without_manifest:
        (folder / MANIFEST_FILE).unlink(missing_ok=True)
    for name in lacks:
        (folder / name).unlink(missing_ok=True)
    for file in sorted(new.iterdir()):
        if file.name != OUTDATED_FILE:
            file.replace(folder / file.name)
    remove_folder(folder / PARTIAL)
    shutil.rmtree(new)
