"""The layers that cost the accuracy: each one's loss by itself, the worst first."""

from __future__ import annotations

import math
from dataclasses import dataclass

from quantkit.core.decibels import NOT_FINITE_DB
from quantkit.core.figures import Metric
from quantkit.core.sensitivity import LayerSensitivity, Sensitivity
from quantkit.reports import wording

NAMED = 3


@dataclass(frozen=True)
class Culprit:
    """A layer of the report's list.

    Attributes:
        layer: The layer.
        rank: Its place among them, from 1.
        size: Its error when it alone is quantized, relative to the worst layer's, 0..1.
        alone: Its SQNR when it alone is quantized, as text.
        told: All its figures, in a sentence.
    """

    layer: LayerSensitivity
    rank: int
    size: float
    alone: str
    told: str


def columns(found: Sensitivity) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the cells of a table of all layers, with rank, layer and kind before the figures."""
    heads = ["#", "layer", "kind", *figure_titles(found)]
    return heads, [
        [str(rank), layer.name, layer.kind, *_figures(found, layer)] for rank, layer in enumerate(found.layers, 1)
    ]


def figure_titles(found: Sensitivity) -> list[str]:
    """Return the titles of the figures of a layer."""
    titles = ["only it, dB", "all but it, dB gained"]
    if _has_kl(found):
        titles.append("only it, KL")
    metric = _metric(found)
    if metric is not None:
        titles.append(f"only it, {metric.title} drop")
    elif found.int8.agreement is not None:
        titles.append("only it, agreement")
    return titles


def culprits(found: Sensitivity) -> list[Culprit]:
    """Return all layers, the worst first."""
    sizes = [_size(layer.only.sqnr_db) for layer in found.layers]
    largest = max((size for size in sizes if math.isfinite(size)), default=0.0) or 1.0
    return [
        Culprit(layer, rank, min(size / largest, 1.0), wording.sqnr(layer.only.sqnr_db), _told(found, layer, rank))
        for rank, (layer, size) in enumerate(zip(found.layers, sizes, strict=True), 1)
    ]


def named(found: Sensitivity) -> str:
    """Name the worst layers in a sentence."""
    worst = [layer for layer in found.layers if layer.only.sqnr_db is not None][:NAMED]
    if not worst:
        return "No layer loses anything by itself."
    told = (f"{layer.kind} {layer.name} ({_decibels(layer.only.sqnr_db)})" for layer in worst)
    return f"By themselves, these layers lose most: {', '.join(told)}."


def summary(found: Sensitivity) -> str:
    """Say what was measured, and what all layers lose together."""
    whole = found.int8
    parts = [f"SQNR {_decibels(whole.sqnr_db)}"]
    if whole.kl is not None:
        parts.append(f"KL {whole.kl:.2g}")
    if whole.agreement is not None:
        parts.append(f"agreement {wording.percent(whole.agreement)}")
    metric = _metric(found)
    if metric is not None:
        parts.append(f"{metric.title} drop {metric.format_difference(whole.drop[metric.name])}")
    machine = found.environment
    labels = f"{found.labelled} labelled" if found.labelled else "without labels"
    return (
        f"INT8 of {found.target}, simulated: {', '.join(parts)}; {found.samples} samples, {labels}; "
        f"{found.seconds:.0f} s on {machine.cpu}, {machine.cores} cores"
    )


def _figures(found: Sensitivity, layer: LayerSensitivity) -> list[str]:
    gain = wording.DASH if layer.gain_db is None else wording.signed(layer.gain_db, 1, plus=True)
    cells = [wording.sqnr(layer.only.sqnr_db), gain]
    if _has_kl(found):
        cells.append(wording.DASH if layer.only.kl is None else f"{layer.only.kl:.2g}")
    metric = _metric(found)
    if metric is not None:
        cells.append(wording.difference(metric, layer.only.drop.get(metric.name, 0.0)).removeprefix("+"))
    elif found.int8.agreement is not None:
        cells.append(wording.DASH if layer.only.agreement is None else wording.percent(layer.only.agreement))
    return cells


def _told(found: Sensitivity, layer: LayerSensitivity, rank: int) -> str:
    only = [f"SQNR {_decibels(layer.only.sqnr_db)}"]
    if layer.only.kl is not None:
        only.append(f"KL {layer.only.kl:.2g}")
    metric = _metric(found)
    if metric is not None and metric.name in layer.only.drop:
        only.append(f"{metric.title} drop {metric.format_difference(layer.only.drop[metric.name])}")
    elif layer.only.agreement is not None:
        only.append(f"agreement {wording.percent(layer.only.agreement)}")
    gain = "" if layer.gain_db is None else f", {wording.signed(layer.gain_db, 1, plus=True)} dB against INT8"
    return (
        f"Number {rank} of {len(found.layers)} by what it loses by itself, number {layer.place} in the model's order. "
        f"Only it in INT8: {', '.join(only)}. All but it in INT8: SQNR {_decibels(layer.all_but.sqnr_db)}{gain}."
    )


def _metric(found: Sensitivity) -> Metric | None:
    """Return the main metric of the task of which a drop was measured."""
    return next((metric for metric in found.metrics if metric.name in found.int8.drop), None)


def _has_kl(found: Sensitivity) -> bool:
    return any(layer.only.kl is not None for layer in found.layers)


def _decibels(sqnr_db: float | None) -> str:
    figure = wording.sqnr(sqnr_db)
    return f"{figure} dB" if figure[-1].isdigit() else figure


def _size(sqnr_db: float | None) -> float:
    """Return the RMS error relative to FP32's RMS value; Inf if it is not finite."""
    if sqnr_db is None:
        return 0.0
    return math.inf if sqnr_db <= NOT_FINITE_DB else 10 ** (-sqnr_db / 20)
