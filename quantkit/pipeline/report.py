"""A run directory in, ``report.html`` and ``summary.md`` out."""

from __future__ import annotations

from pathlib import Path

from quantkit.core.calibration import Calibration
from quantkit.core.comparison import COMPARISON_FILE, Comparison
from quantkit.core.files import write_text
from quantkit.gates import GateResult
from quantkit.gates import gate as apply_rules
from quantkit.pipeline.run_directory import run_config

REPORT_FILE = "report.html"
SUMMARY_FILE = "summary.md"


def write_report(
    folder: Path,
    output: Path | None = None,
    gate: GateResult | None = None,
    calibration: Calibration | None = None,
) -> Path:
    """Write both files, or the report alone to ``output``; the report's path is returned.

    ``calibration`` spares reading the folder's. Without ``gate`` the run's own rules are applied, if it has any and is
    compared. Raises BadInput.
    """
    from quantkit.reports.html import html_report
    from quantkit.reports.markdown import markdown_summary

    calibration = calibration or Calibration.load(folder)
    comparison = Comparison.load(folder) if (folder / COMPARISON_FILE).is_file() else None
    rules = run_config(folder).gate
    if gate is None and comparison is not None and rules:
        gate = apply_rules(comparison, rules)
    path = output if output is not None else folder / REPORT_FILE
    write_text(path, html_report(calibration, comparison, gate))
    if output is None:
        write_text(folder / SUMMARY_FILE, markdown_summary(comparison, gate, calibration))
    return path
