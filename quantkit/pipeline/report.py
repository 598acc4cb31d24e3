"""The report stage: writes ``report.html`` and ``summary.md`` of a run directory."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from quantkit.core.calibration import Calibration
from quantkit.core.comparison import COMPARISON_FILE, Comparison
from quantkit.core.errors import BadConfig, BadInput, BadRun
from quantkit.core.files import atomic_file, write_text
from quantkit.core.recipe import Recipe
from quantkit.core.sensitivity import Sensitivity
from quantkit.core.tuning import Tuning
from quantkit.gates import GateResult
from quantkit.gates import gate as apply_rules
from quantkit.gates.document import GATE_FILE, gate_document, read_judged
from quantkit.graph.model_file import open_model
from quantkit.pipeline.artifact_record import read_artifacts
from quantkit.pipeline.run_directory import ARTIFACTS
from quantkit.pipeline.run_files import load_calibration, load_comparison, load_sensitivity, run_config
from quantkit.pipeline.tuning.result import load_tuning

if TYPE_CHECKING:
    from quantkit.reports.content.graph import Network

log = logging.getLogger("quantkit")
REPORT_FILE = "report.html"
SUMMARY_FILE = "summary.md"
MOST_WITH_GRAPH = 2_000_000  # bytes of a report that shows the network without being told to
TOO_LARGE = (
    "The network is not drawn, for the report would exceed 2 MB: `quantkit report --graph` draws it all the same."
)
Drawn = Literal["auto"] | bool
FORMS: dict[str, Literal["svg", "png"]] = {".svg": "svg", ".png": "png"}


def write_report(
    folder: Path,
    output: Path | None = None,
    gate: GateResult | None = None,
    calibration: Calibration | None = None,
    thumbnails: bool | None = None,
    graph: bool | None = None,
) -> Path:
    """Write ``report.html`` and ``summary.md`` of a run.

    Args:
        folder: The run directory.
        output: Write the report to this file instead, and no summary.
        gate: The gate's result; None means that of :func:`own_gate`, if the run is compared.
        calibration: The run's calibration, if it is loaded already.
        thumbnails: Overrides the run's ``[report] thumbnails``.
        graph: Overrides the run's ``[report] graph``.

    Returns:
        The path of the report.

    Raises:
        BadInput: The run is damaged, or the report cannot be written.
    """
    from quantkit.reports.html import html_report
    from quantkit.reports.markdown import markdown_summary

    calibration = calibration or load_calibration(folder)
    comparison = load_comparison(folder) if (folder / COMPARISON_FILE).is_file() else None
    if gate is None and comparison is not None:
        gate = own_gate(folder, comparison)
    path = output if output is not None else folder / REPORT_FILE
    settings = run_config(folder).report
    thumbnails = settings.thumbnails if thumbnails is None else thumbnails
    drawn = settings.graph if graph is None else graph
    artifacts = read_artifacts(folder / ARTIFACTS)
    sensitivity = own_sensitivity(folder, calibration)
    tuning = own_tuning(folder, calibration)

    def page(network: Network | None, missing: str) -> str:
        told = (calibration, comparison, gate, thumbnails, artifacts, sensitivity, tuning)
        return html_report(*told, network=network, network_missing=missing)

    write_text(path, with_network(page, calibration, drawn))
    if output is None:
        write_text(folder / SUMMARY_FILE, markdown_summary(comparison, gate, calibration, sensitivity, tuning))
    return path


def write_chart(folder: Path, path: Path) -> Path:
    """Write the run's chart of accuracy against latency.

    Args:
        folder: The run directory.
        path: The file; its suffix decides between SVG and PNG.

    Returns:
        The file.

    Raises:
        BadInput: The suffix is unknown, or the run is not compared yet.
    """
    from quantkit.reports.charts.scatter import scatter_file

    form = FORMS.get(path.suffix.lower())
    if form is None:
        raise BadConfig(
            f"The chart cannot be written as {path.name}.", "Give --chart a name that ends in .svg or .png."
        )
    if not (folder / COMPARISON_FILE).is_file():
        raise BadRun(
            f"The run in {folder} is not compared yet, so there is no chart.",
            f"Compare it: quantkit compare {folder} --data DIR.",
        )
    content = scatter_file(load_comparison(folder), form)
    with atomic_file(path) as file:
        file.write_bytes(content)
    return path


def write_gate(folder: Path, comparison: Comparison, result: GateResult) -> None:
    """Write ``gate.json``."""
    write_text(folder / GATE_FILE, json.dumps(gate_document(result, comparison), indent=1) + "\n")


def append_step_summary(text: str) -> None:
    """Append Markdown to the summary of a GitHub Actions job; do nothing elsewhere."""
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return
    try:
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")
    except OSError as error:
        log.warning("The step summary %s cannot be written (%s).", name, error.strerror)


def own_sensitivity(folder: Path, calibration: Calibration) -> Sensitivity | None:
    """Return what was measured of the layers of this very calibration; None, perhaps with a warning, without it."""
    try:
        return load_sensitivity(folder, Recipe.of(calibration))
    except BadRun as error:
        log.warning("The report does not name the layers that cost the accuracy. %s", error)
        return None


def own_tuning(folder: Path, calibration: Calibration) -> Tuning | None:
    """Return how this calibration was tuned; None, perhaps with a warning, if it was not, or if that is not known."""
    if calibration.tuned is None:
        return None
    try:
        return load_tuning(folder)
    except BadRun as error:
        log.warning("The report does not tell how the run was tuned. %s", error)
        return None


def with_network(page: Callable[[Network | None, str], str], calibration: Calibration | None, drawn: Drawn) -> str:
    """Return a page with the network of the calibrated model, or without.

    Args:
        page: Makes the page of the network, or of the reason why it is not drawn.
        calibration: The calibration; without one there is no network.
        drawn: True to draw the network, False not to; "auto" draws it if the page stays small.
    """
    network, missing = own_network(calibration) if drawn and calibration is not None else (None, "")
    content = page(network, missing)
    if drawn == "auto" and network is not None and len(content.encode()) > MOST_WITH_GRAPH:
        return page(None, TOO_LARGE)
    return content


def own_network(calibration: Calibration) -> tuple[Network | None, str]:
    """Return the layers of the model that was calibrated; None, and why, if its file is not there as it was."""
    from quantkit.reports.content.graph import network_of

    path = Path(calibration.model.path)
    try:
        model = open_model(path)
        if model.sha256() != calibration.model.sha256:
            return None, f"The network is not drawn, for `{path}` is no longer the model that was calibrated."
    except BadInput as error:
        return None, f"The network is not drawn, for the model cannot be read. {error}"
    return network_of(model.graph_only), ""


def own_gate(folder: Path, comparison: Comparison) -> GateResult | None:
    """Apply the rules that this comparison was last judged by, or else the run's own.

    Args:
        folder: The run directory.
        comparison: The run's comparison.

    Returns:
        The result; None if there are no rules, or if they need a baseline that is missing.
    """
    judged = read_judged(folder / GATE_FILE)
    again = judged.measured == comparison.environment.measured
    rules = (judged.rules if again else ()) or tuple(run_config(folder).gate)
    optional = again and bool(judged.rules) and judged.baseline is None  # they were judged without one
    baseline = None
    if any(rule.against == "baseline" for rule in rules) and not optional:
        try:
            if judged.baseline is None:
                raise BadConfig("No baseline is known.", "Give quantkit gate --baseline.")
            baseline = load_comparison(judged.baseline)
        except BadInput as error:
            log.info("The report shows no gate, whose rules speak of a baseline. %s", error)
            return None
    return apply_rules(comparison, rules, baseline, optional) if rules else None
