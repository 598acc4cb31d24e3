"""How to reproduce a run: the commands from its records, and the GPU clocks that it was measured at."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from quantkit.core.calibration import Calibration
from quantkit.core.comparison import Comparison, Row
from quantkit.core.tuning import Goal, Tuning

AGAIN = "again"  # the run directory that the commands create
TUNED = f"{AGAIN}-tuned"  # that which tuning makes of it
SETTINGS = "quantkit.toml"


def reproduce(calibration: Calibration, comparison: Comparison | None, tuning: Tuning | None = None) -> list[str]:
    """Return the shell commands that reproduce this run in the folder ``again``, or ``again-tuned`` if it was tuned.

    Their options come from ``calibration.json`` and ``comparison.json``. All other settings (preprocessing, percentile,
    shapes …) are in the run's ``quantkit.toml``, which they name.

    Args:
        calibration: The run's calibration.
        comparison: The run's comparison, if there is one.
        tuning: What tuning tried, if the run was tuned.

    Returns:
        The commands; empty if the run cannot be reproduced, because its samples came from a Python program, its ranges
        were imported or its settings are missing.
    """
    if calibration.folder is None or not calibration.samples or not Path(calibration.data.path).is_absolute():
        return []
    settings = calibration.folder.absolute() / SETTINGS
    if not settings.is_file():
        return []
    line = ["quantkit", "calibrate", calibration.model.path, "-c", str(settings), "--data", calibration.data.path]
    line += ["--samples", str(calibration.samples + len(calibration.data.skipped)), "--seed", str(calibration.seed)]
    own = calibration.tuned or calibration  # what was calibrated, before it was tuned
    line += ["--method", own.method, "--batch-size", str(calibration.batch_size)]
    line += [part for pattern in own.exclude for part in ("--exclude", pattern)]
    commands = [shlex.join([*line, "-o", AGAIN])]
    if calibration.tuned is not None:
        if tuning is None or not Path(tuning.data).is_absolute():
            return []
        commands.append(shlex.join(["quantkit", "tune", AGAIN, *_tuned(tuning), "-o", TUNED]))
    if comparison is not None and comparison.rows and Path(comparison.data).is_absolute():
        commands.append(
            shlex.join(["quantkit", "compare", TUNED if calibration.tuned else AGAIN, *_measured(comparison, tuning)])
        )
    return commands


def _tuned(tuning: Tuning) -> list[str]:
    samples = str(tuning.tuned_on + tuning.held_out)
    found = ["--data", tuning.data, "--samples", samples, "--seed", str(tuning.seed), "--target", tuning.target]
    found += ["--batch-size", str(tuning.batch), *_goal(tuning.goal)]
    return found + (["--device", tuning.device] if tuning.device else [])


def _goal(goal: Goal) -> list[str]:
    """Return the options that a goal was given by."""
    options = {
        "drop": ["--max-drop", f"{100 * goal.bound:g}"],
        "sqnr": ["--min-sqnr", f"{goal.bound:g}"],
        "agreement": ["--min-agreement", f"{100 * goal.bound:g}"],
        "within": ["--within", f"{100 * goal.bound:g}%-of-fp16"],
        "speed": [],
    }[goal.kind]
    return [*options, *([] if goal.slowdown is None else ["--max-slowdown", f"{100 * goal.slowdown:g}"])]


def _measured(comparison: Comparison, tuning: Tuning | None) -> list[str]:
    rows, samples = comparison.rows, comparison.samples
    if tuning is not None and tuning.data == comparison.data:
        samples += tuning.tuned_on  # which are left out again
    found = ["--data", comparison.data, "--samples", str(samples), "--task", comparison.task]
    for option, values in (
        ("--target", [row.target for row in rows]),
        ("--precision", [row.precision for row in rows]),
        ("--batch-size", [str(row.batch) for row in rows if not row.shape]),
        ("--shape", [row.shape for row in rows if row.shape]),
    ):
        found += [part for value in dict.fromkeys(values) for part in (option, value)]
    methods = dict.fromkeys(row.variant.split(", ")[0] for row in rows if row.precision == "int8")
    if len(methods) > 1:
        found += [part for method in methods for part in ("--method", method)]
    devices = {row.device for row in rows}
    return found + (["--device", *devices] if len(devices) == 1 else [])  # the option applies to every target


def clocks(rows: Sequence[Row]) -> list[str]:
    """Describe the clocks, power and temperature of the GPU under each row's load, as far as NVML reported them."""
    told = []
    for row in rows:
        if row.gpu is None:
            continue
        parts = {
            "SM {:,} MHz": row.gpu.sm_clock_mhz,
            "memory {:,} MHz": row.gpu.memory_clock_mhz,
            "{:.0f} W": row.gpu.power_w,
            "{} °C": row.gpu.temperature_c,
        }
        figures = ", ".join(text.format(value) for text, value in parts.items() if value is not None)
        if figures:
            batch = f", {row.feed_name}" if row.feed != (1, "") else ""
            told.append(f"{row.target} {row.precision.upper()}{batch}: {figures}")
    return told
