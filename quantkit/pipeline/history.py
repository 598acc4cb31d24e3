"""Sets several runs beside one another: their history, and the page of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quantkit.core.calibration import CALIBRATION_FILE, Calibration
from quantkit.core.comparison import COMPARISON_FILE
from quantkit.core.errors import BadConfig, BadRun
from quantkit.core.files import write_text
from quantkit.core.record import read_record
from quantkit.pipeline.run_directory import find_run
from quantkit.pipeline.run_files import load_comparison

if TYPE_CHECKING:
    from quantkit.reports.content.history import History


def load_history(runs: Sequence[Path]) -> tuple[History, list[Path]]:
    """Load the runs that are compared; of each, ``comparison.json`` is enough.

    Args:
        runs: Run directories, folders with a ``comparison.json`` or such files, in any order.

    Returns:
        Their history, and the runs that are not compared yet.

    Raises:
        BadConfig: A run is named twice.
        BadRun: A folder is no run, or fewer than two are compared.
    """
    from quantkit.reports.content.history import Release, history
    from quantkit.reports.difference_html import run_names

    folders = [run.parent if run.name == COMPARISON_FILE and run.is_file() else run for run in runs]
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise BadConfig("A run is named twice.", "Name each once.")
    compared = [folder for folder in folders if (folder / COMPARISON_FILE).is_file()]
    others = [find_run(folder) for folder in folders if folder not in compared]
    if len(compared) < 2:
        number = {0: "None", 1: "Only one"}[len(compared)]
        raise BadRun(f"{number} of these runs is compared.", "A history needs two: give quantkit compare RUN.")
    names = run_names(*compared)
    pairs = zip(names, compared, strict=True)
    releases = [Release(name, load_comparison(folder), _calibration(folder)) for name, folder in pairs]
    return history(releases), others


def _calibration(folder: Path) -> Calibration | None:
    """Read what was calibrated, without the histograms, which a history does not need."""
    file = folder / CALIBRATION_FILE
    return read_record(Calibration, file, "quantkit calibrate") if file.is_file() else None


def write_history(found: History, output: Path) -> None:
    """Write the page of a history."""
    from quantkit.reports.history_html import history_page

    write_text(output, history_page(found))
