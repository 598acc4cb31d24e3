"""The HTML report: one self-contained file, readable offline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from markupsafe import Markup

from quantkit.core.artifact import Artifact
from quantkit.core.calibration import Calibration
from quantkit.core.comparison import LAYER_SAMPLES, Comparison
from quantkit.core.sensitivity import Sensitivity
from quantkit.core.tuning import Tuning
from quantkit.gates import GateResult
from quantkit.reports.charts.depth import depth_svg
from quantkit.reports.charts.glyphs import GLYPHS
from quantkit.reports.charts.scatter import scatter_svg
from quantkit.reports.charts.serving import serving_svg
from quantkit.reports.charts.tuning import tuning_svg
from quantkit.reports.content import serving as servers
from quantkit.reports.content.changed import changes_of
from quantkit.reports.content.commands import clocks, reproduce
from quantkit.reports.content.culprits import culprits, named, summary
from quantkit.reports.content.end_to_end import advice, pipelines
from quantkit.reports.content.graph import Network, network_json
from quantkit.reports.content.layer_errors import SHOWN, layer_entries, series_of
from quantkit.reports.content.layer_times import breakdowns
from quantkit.reports.content.measurements import measurements
from quantkit.reports.content.outputs import output_table
from quantkit.reports.content.points import quality_of, target_order
from quantkit.reports.content.shipping import shipping
from quantkit.reports.content.table import drop_test
from quantkit.reports.content.tensors import tensor_entries
from quantkit.reports.content.thumbnails import pictures_of
from quantkit.reports.content.tuning import columns as steps_of
from quantkit.reports.content.tuning import outcome
from quantkit.reports.content.tuning_path import is_timed
from quantkit.reports.content.verdict import judge
from quantkit.reports.page import page


def html_report(
    calibration: Calibration | None,
    comparison: Comparison | None,
    gate: GateResult | None,
    thumbnails: bool = True,
    artifacts: Sequence[Artifact] = (),
    sensitivity: Sensitivity | None = None,
    tuning: Tuning | None = None,
    network: Network | None = None,
    network_missing: str = "",
) -> str:
    """Write the report as one HTML document. Names of models, tensors, classes and files are untrusted.

    Args:
        calibration: The calibration, if it is known.
        comparison: The comparison, if there is one.
        gate: The gate's result, if there is one.
        thumbnails: Show thumbnails of the samples whose answers changed.
        artifacts: The run's artifacts, whose records say which layers are in INT8.
        sensitivity: What each layer loses by itself, if it was measured.
        tuning: What tuning tried and chose, if the run was tuned.
        network: The model's layers, to be drawn; None for a report without them.
        network_missing: Why they are not drawn, in a sentence or two; empty to say nothing of them.

    Returns:
        The HTML document.
    """
    model = comparison.model if comparison else calibration.model.path if calibration else "?"
    rows = comparison.rows if comparison else ()
    targets = target_order(rows)
    series = series_of(rows)
    found = culprits(sensitivity) if sensitivity else []
    served = servers.served_models(comparison) if comparison else []
    entries = layer_entries(series, tensor_entries(calibration) if calibration else [], found)
    table = measurements(comparison) if comparison else None
    drawn = comparison.model_copy(update={"rows": table.rows}) if comparison and table else None
    changed = changes_of(comparison) if comparison else []
    return page(
        "report.html",
        [entry.calibrated.chart if entry.calibrated else None for entry in entries],
        network=network_json(network, entries, series, comparison, sensitivity, artifacts) if network else None,
        network_missing=network_missing,
        calibration=calibration,
        comparison=comparison,
        gate=gate,
        judgement=judge(comparison, gate),
        shipping=shipping(comparison) if comparison else None,
        model_name=PurePath(model.replace("\\", "/")).name or model,
        picture=Markup(scatter_svg(drawn)) if drawn else "",
        narrow_picture=Markup(scatter_svg(drawn, narrow=True)) if drawn else "",
        quality=_heading(comparison) if comparison else "",
        table=table,
        drop_test=drop_test(comparison) if comparison else "",
        glyphs={target: (GLYPHS[i % len(GLYPHS)], i % len(GLYPHS)) for i, target in enumerate(targets)},
        breakdowns=breakdowns(rows),
        pipelines=pipelines(rows),
        pipeline_advice=advice(rows),
        served=served,
        serving_table=servers.serving_table(served),
        serving_knees=servers.knees(served),
        serving_note=servers.footnote(),
        serving_picture=Markup(serving_svg(served, targets)),
        narrow_serving_picture=Markup(serving_svg(served, targets, narrow=True)),
        outputs=output_table(rows),
        changed=changed,
        thumbnails=pictures_of(comparison.data, changed) if comparison and thumbnails else {},
        series=series,
        entries=entries,
        commands=reproduce(calibration, comparison, tuning) if calibration else [],
        clocks=clocks(rows),
        sensitivity=sensitivity,
        tuning=tuning,
        tuned=outcome(tuning) if tuning else "",
        steps=steps_of(tuning) if tuning else ([], []),
        path=Markup(tuning_svg(tuning)) if tuning else "",
        narrow_path=Markup(tuning_svg(tuning, narrow=True)) if tuning else "",
        path_timed=is_timed(tuning) if tuning else False,
        culprits_named=named(sensitivity) if sensitivity else "",
        culprits_measured=summary(sensitivity) if sensitivity else "",
        folded=SHOWN if (series or found) and len(entries) > SHOWN + 3 else 0,
        depth=Markup(depth_svg(series, targets)),
        narrow_depth=Markup(depth_svg(series, targets, narrow=True)),
        layer_samples=LAYER_SAMPLES,
        layers=[(a.target, a.variant, a.layers) for a in artifacts if a.layers is not None],
        warnings=[w for source in (comparison, calibration) if source for w in source.warnings],
    )


def _heading(comparison: Comparison) -> str:
    """Name the metric that the chart shows against latency, in a word or two."""
    quality = quality_of(comparison)
    share = bool(comparison.labelled) and quality.metric.is_share
    return "Accuracy" if share else quality.title.removesuffix(" with FP32")
