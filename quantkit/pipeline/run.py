"""Runs all stages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantkit.config import Config
from quantkit.core.comparison import Comparison
from quantkit.core.errors import BadConfig
from quantkit.core.files import write_text
from quantkit.core.progress import Progress, silent
from quantkit.core.recipe import Recipe
from quantkit.core.tuning import Tuning
from quantkit.gates import GateResult
from quantkit.gates import gate as apply_rules
from quantkit.graph.model_file import open_model
from quantkit.pipeline.calibration.stage import calibrate
from quantkit.pipeline.comparison.stage import compare, open_evaluation_data
from quantkit.pipeline.export import export_all
from quantkit.pipeline.keeping import is_compared
from quantkit.pipeline.report import write_gate, write_report
from quantkit.pipeline.run_directory import ARTIFACTS
from quantkit.pipeline.run_files import load_calibration, load_comparison, save_comparison
from quantkit.pipeline.tuning.run import request_of, tune
from quantkit.pipeline.writing import writing_results

JUNIT_FILE = "junit.xml"
TUNED_FOLDER = "tuned"  # in the run directory, the run that [tune] makes


@dataclass(frozen=True)
class Outcome:
    """The result of a complete run; ``tuning`` is None if the configuration asks for none."""

    folder: Path
    comparison: Comparison
    gate: GateResult
    tuning: Tuning | None = None

    def __repr__(self) -> str:
        return f"Outcome({self.folder}, {self.gate!r}, exit_code={self.exit_code})"

    @property
    def exit_code(self) -> int:
        """The gate's exit code; 1 for a run that passes it, but misses the goal that it was tuned for."""
        missed = self.tuning is not None and not self.tuning.met
        return self.gate.exit_code or int(missed)


def run_all(
    config: Config,
    folder: Path | None,
    fresh: bool = False,
    progress: Progress = silent,
    baseline: Comparison | None = None,
    baseline_optional: bool = False,
) -> Outcome:
    """Calibrate, export, compare, tune if the configuration has ``[tune]``, report and judge the result.

    Args:
        config: The effective configuration.
        folder: The run directory; None creates one under ``runs/``.
        fresh: Ignore earlier results.
        progress: Displays the progress.
        baseline: An earlier comparison, for rules against a baseline.
        baseline_optional: Without it, such rules are not comparable, instead of an error.

    Returns:
        The run directory, the comparison and the gate's result.

    Raises:
        BadInput: The model, the data or a setting is wrong; as far as possible, before the long work.
    """
    from quantkit.reports.junit import junit_xml

    if config.model.path is None or config.data.evaluation is None:
        keys = {
            "[model] path": config.model.path,
            "[data] calibration": config.data.calibration,
            "[data] evaluation": config.data.evaluation,
        }
        missing = " and ".join(key for key, value in keys.items() if value is None)
        raise BadConfig(
            f"Not set: {missing}.",
            "Set that in quantkit.toml, or give quantkit run MODEL --data DIR --eval-data DIR.",
        )
    if baseline is None and not baseline_optional and any(rule.against == "baseline" for rule in config.gate):
        raise BadConfig(
            "A gate rule speaks of a baseline, and none is given.", "Give an earlier run (--baseline, baseline=)."
        )
    model = open_model(config.model.path, config.model.batch_axis)
    # Check the labels now, not after the long work.
    open_evaluation_data(config, model)
    wanted = None if config.tune is None else request_of(config.tune)
    calibration = calibrate(config, folder, fresh=fresh, progress=progress)
    assert calibration.folder is not None
    folder = calibration.folder
    recipe = Recipe.of(calibration)
    with writing_results(calibration):
        export_all(config, recipe, folder / ARTIFACTS, progress)
        comparison = compare(config, recipe, folder / ARTIFACTS, progress)
        comparison = save_comparison(comparison, folder)
        write_report(folder)
    tuned = None
    if wanted is not None:
        tuned = tune(config, recipe, wanted, folder / TUNED_FOLDER, progress, fresh)
        assert tuned.folder is not None
        if is_compared(tuned.folder):  # else its target does not run here, and the gate judges what was measured
            folder = tuned.folder
            calibration, comparison = load_calibration(folder), load_comparison(folder)
    with writing_results(calibration):
        result = apply_rules(comparison, config.gate, baseline, baseline_optional)
        write_text(folder / JUNIT_FILE, junit_xml(result))
        write_gate(folder, comparison, result)
        write_report(folder, gate=result)
    return Outcome(folder, comparison, result, tuned)
