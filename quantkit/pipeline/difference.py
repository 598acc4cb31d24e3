"""Writes the page on the differences between two runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from quantkit.core.comparison import COMPARISON_FILE, Comparison
from quantkit.core.errors import BadConfig
from quantkit.core.files import write_text
from quantkit.pipeline.run_files import load_calibration, load_comparison, run_config

DIFFERENCE_FILE = "difference.html"


def write_difference(before: Path, after: Path, output: Path | None = None, thumbnails: bool | None = None) -> Path:
    """Write the page that compares two runs.

    Args:
        before: The earlier run.
        after: The later run.
        output: The file; default: ``difference.html`` in the later run.
        thumbnails: Overrides the runs' ``[report] thumbnails``; by default both must allow thumbnails.

    Returns:
        The path of the page.

    Raises:
        BadInput: A run is damaged, or both are the same run.
    """
    from quantkit.reports.difference_html import Run, difference_page, run_names

    if before.resolve() == after.resolve():
        raise BadConfig(f"{before} and {after} are one run.", "Name two.")
    names = run_names(before, after)
    earlier = Run(names[0], load_calibration(before), _comparison(before))
    later = Run(names[1], load_calibration(after), _comparison(after))
    if thumbnails is None:
        thumbnails = all(run_config(run).report.thumbnails for run in (before, after))
    path = output if output is not None else after / DIFFERENCE_FILE
    write_text(path, difference_page(earlier, later, thumbnails))
    return path


def difference_document(before: Path, after: Path) -> list[dict[str, Any]]:
    """Return the figures of both runs row by row, for JSON; infinite figures are None."""
    from quantkit.reports.content.differences import row_differences

    first, second = _comparison(before), _comparison(after)
    if first is None or second is None:
        return []
    return [
        {
            **{key: getattr(found.row, key) for key in ("target", "device", "precision", "batch")},
            "before": found.before is not None,
            "after": found.after is not None,
            "figures": [
                {
                    "metric": figure.metric,
                    "before": figure.before if math.isfinite(figure.before) else None,
                    "after": figure.after if math.isfinite(figure.after) else None,
                    "outcome": figure.outcome,
                    "reason": figure.reason,
                }
                for figure in found.figures
            ],
        }
        for found in row_differences(first, second)
    ]


def _comparison(folder: Path) -> Comparison | None:
    return load_comparison(folder) if (folder / COMPARISON_FILE).is_file() else None
