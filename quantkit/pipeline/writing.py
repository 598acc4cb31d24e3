"""Who may write into a run directory: one command at a time, which first completes what a killed one began."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quantkit.core.calibration import Calibration
from quantkit.core.errors import BadRun
from quantkit.core.files import make_folder, remove_temporaries
from quantkit.core.locking import locked
from quantkit.core.run_log import log_into, remove_log_alone
from quantkit.pipeline.replacement import complete_replacement
from quantkit.pipeline.run_directory import ARTIFACTS, claim
from quantkit.pipeline.run_files import load_calibration

SHORTLY = 5.0  # seconds that a quick command waits for another one


@contextmanager
def own_folder(folder: Path, of_part: bool = False) -> Iterator[None]:
    """Claim and lock ``folder`` inside the ``with`` block; if the block fails and the folder is empty, remove it.

    The lock ends with the process, however that ends.

    Args:
        folder: The folder.
        of_part: True for the folder of a shard.

    Raises:
        BadRun: The folder holds anything else, or another process is working in it.
    """
    claim(folder, of_part)
    try:
        with writing_into(folder):
            yield
    except BaseException:
        if folder.is_dir():
            remove_log_alone(folder)
            if not any(folder.iterdir()):
                folder.rmdir()
        raise


@contextmanager
def writing_into(folder: Path, wait: float = 0.0) -> Iterator[None]:
    """Lock an existing run inside the ``with`` block, and complete what a killed command began.

    Args:
        folder: The run directory.
        wait: How many seconds to wait for another command.

    Raises:
        BadRun: Another process is working in the folder, or it cannot be written.
    """
    with locked(folder, wait):
        _refuse_pipes(folder)
        remove_temporaries(folder)
        complete_replacement(folder)
        log_into(folder)
        yield


def _refuse_pipes(folder: Path) -> None:
    """Raise BadRun for a pipe or a device among a run's files, which writing could wait for without end."""
    for path in folder.iterdir():
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            raise BadRun(f"{path} is a pipe or a device, not a file.", "Remove it.")


@contextmanager
def writing_results(calibration: Calibration) -> Iterator[None]:
    """Lock the run of a calibration, to write what is made from it.

    Raises:
        BadRun: As :func:`writing_into`; or the run was calibrated again since.
    """
    folder = calibration.folder
    assert folder is not None
    with writing_into(folder):
        there = load_calibration(folder)
        if any(getattr(there, key) != getattr(calibration, key) for key in ("created", "model", "data", "method")):
            raise BadRun(f"The run in {folder} was calibrated again meanwhile.", "Give the command again.")
        yield


@contextmanager
def writing_artifacts(calibration: Calibration, artifacts: Path) -> Iterator[None]:
    """Lock the folder that artifacts of a calibration are written to: its run, or another one of the user's.

    Raises:
        BadRun: As :func:`writing_results`.
    """
    if calibration.folder is not None and artifacts == calibration.folder / ARTIFACTS:
        with writing_results(calibration):
            yield
        return
    with locked(make_folder(artifacts)):
        remove_temporaries(artifacts)
        yield
