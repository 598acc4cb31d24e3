"""The Python API over what was measured: load it, show it, judge it."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from quantkit.arguments import AnyPath
from quantkit.config_files import load_config
from quantkit.core.artifact import Artifact
from quantkit.core.calibration import Calibration
from quantkit.core.comparison import Comparison
from quantkit.core.errors import BadConfig, NothingEvaluated
from quantkit.core.files import write_text
from quantkit.core.overwriting import HTML_MARK, check_overwrite
from quantkit.core.sensitivity import Sensitivity
from quantkit.core.tuning import Tuning
from quantkit.gates import GateResult, Rule
from quantkit.gates import gate as apply_rules
from quantkit.pipeline import run_files
from quantkit.pipeline.artifact_record import read_artifacts
from quantkit.pipeline.report import own_gate, own_sensitivity, own_tuning, with_network
from quantkit.pipeline.run_directory import ARTIFACTS, is_run
from quantkit.pipeline.run_files import run_config

if TYPE_CHECKING:
    from quantkit.reports.content.graph import Network
    from quantkit.reports.notebook import NotebookView


def load_calibration(folder: AnyPath) -> Calibration:
    """The calibration of a run directory, with its histograms. Raises BadRun."""
    return run_files.load_calibration(Path(folder))


def load_comparison(folder: AnyPath) -> Comparison:
    """The comparison of a run directory. Raises BadRun."""
    return run_files.load_comparison(Path(folder))


def report(
    comparison: Comparison | AnyPath,
    path: AnyPath,
    *,
    calibration: Calibration | AnyPath | None = None,
    graph: Literal["auto"] | bool = "auto",
    force: bool = False,
) -> Path:
    """Write the HTML report of a comparison, or of the run directory that holds it.

    A comparison from a run directory brings its calibration's histograms along, the rules that it was judged by, and
    whether thumbnails are shown. ``graph`` draws the network; "auto" if the page stays below 2 MB. ``force`` replaces a
    file that quantkit did not write. Raises BadInput for such a file, and for a run directory that cannot be read.
    """
    from quantkit.reports.html import html_report

    check_overwrite(Path(path), HTML_MARK, force)
    comparison = _comparison_of(comparison)
    own, judged, thumbnails, artifacts, found, tuning = _run_of(comparison, calibration)

    def page(network: Network | None, missing: str) -> str:
        told = (own, comparison, judged, thumbnails, artifacts, found, tuning)
        return html_report(*told, network=network, network_missing=missing)

    write_text(Path(path), with_network(page, own, graph))
    return Path(path)


def show(
    comparison: Comparison | AnyPath,
    *,
    calibration: Calibration | AnyPath | None = None,
    thumbnails: bool | None = None,
    graph: Literal["auto"] | bool = "auto",
) -> NotebookView:
    """The report, to be the last line of a notebook's cell, with what :func:`report` takes from a run directory.

    ``thumbnails`` False shows no pictures of samples, None those that the run allows; ``graph`` draws the network.
    Raises BadInput for a run directory that cannot be read.
    """
    from quantkit.reports.html import html_report
    from quantkit.reports.markdown import markdown_summary
    from quantkit.reports.notebook import NotebookView

    comparison = _comparison_of(comparison)
    own, judged, allowed, artifacts, found, tuning = _run_of(comparison, calibration)
    shown = allowed if thumbnails is None else thumbnails

    def page(network: Network | None, missing: str) -> str:
        told = (own, comparison, judged, shown, artifacts, found, tuning)
        return html_report(*told, network=network, network_missing=missing)

    return NotebookView(with_network(page, own, graph), markdown_summary(comparison, judged, own, found, tuning))


def _comparison_of(given: Comparison | AnyPath) -> Comparison:
    return given if isinstance(given, Comparison) else run_files.load_comparison(Path(given))


def _run_of(
    comparison: Comparison, calibration: Calibration | AnyPath | None
) -> tuple[Calibration | None, GateResult | None, bool, list[Artifact], Sensitivity | None, Tuning | None]:
    """What the report shows of the run that a comparison lies in; thumbnails are the third of these.

    A ``calibration`` that is given stands in for the run's.
    """
    folder = comparison.folder
    if isinstance(calibration, (str, PathLike)):
        calibration = run_files.load_calibration(Path(calibration))
    if folder is None or not is_run(folder):
        return calibration, None, True, [], None, None
    calibration = calibration or run_files.load_calibration(folder)
    return (
        calibration,
        own_gate(folder, comparison),
        run_config(folder).report.thumbnails,
        read_artifacts(folder / ARTIFACTS),
        own_sensitivity(folder, calibration),
        own_tuning(folder, calibration),
    )


def gate(
    comparison: Comparison | AnyPath,
    rules: AnyPath | Sequence[Rule],
    baseline: Comparison | AnyPath | None = None,
    *,
    baseline_optional: bool = False,
) -> GateResult:
    """Judge a comparison (or a run directory, or a ``comparison.json``) by rules, or by the ``[[gate]]`` of a file.

    ``baseline`` is what rules against a baseline compare with; without it they are an error, or with
    ``baseline_optional`` not comparable. Raises BadInput for files that cannot be read and for a baseline that is
    missing, NothingEvaluated when there are no rules, BadConfig for what is no rule.
    """
    comparison = _comparison_of(comparison)
    baseline = None if baseline is None else _comparison_of(baseline)
    chosen = load_config(Path(rules)).gate if isinstance(rules, (str, PathLike)) else list(rules)
    if stranger := next((rule for rule in chosen if not isinstance(rule, Rule)), None):
        raise BadConfig(f"{type(stranger).__name__} is no gate rule.", "Give quantkit.Rule(...), or a file of rules.")
    if not chosen:
        raise NothingEvaluated("There are no gate rules.", "Add [[gate]] tables to the configuration.")
    return apply_rules(comparison, chosen, baseline, baseline_optional)
