"""Where accuracy is lost: the layers by SQNR, worst first, with the calibration of their tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quantkit.core.comparison import LayerError, Row
from quantkit.core.decibels import NOT_FINITE_DB
from quantkit.reports import wording
from quantkit.reports.content.tensors import TensorEntry

SHOWN = 12  # layers; the rest is shown after a click
WORST_NAMED = 3


@dataclass(frozen=True)
class Series:
    """The layers of an INT8 row, with a distinct ``label``; it is number ``nth`` (from 0) of its target's rows."""

    row: Row
    label: str
    nth: int

    @property
    def target(self) -> str:
        """The target, which decides colour and marker."""
        return self.row.target


@dataclass(frozen=True)
class ErrorCell:
    """The SQNR of a layer in one series as text, and its error relative to the worst layer's, 0..1."""

    text: str
    size: float


@dataclass(frozen=True)
class LayerEntry:
    """A tensor of the list. ``errors`` has a cell for each series, None if the tensor is not in that model."""

    tensor: str
    layer: LayerError | None
    errors: tuple[ErrorCell | None, ...]
    calibrated: TensorEntry | None


def series_of(rows: Sequence[Row]) -> list[Series]:
    """Return a series for each row with layer errors."""
    own = [row for row in rows if row.layer_errors]
    found: list[Series] = []
    for row in own:
        nth = sum(series.target == row.target for series in found)
        found.append(Series(row, " ".join((row.target, *wording.telling(row, own))), nth))
    return found


def layer_entries(series: Sequence[Series], tensors: Sequence[TensorEntry]) -> list[LayerEntry]:
    """List the layers by their worst series, worst first; then all other tensors, in the model's order."""
    calibrated = {entry.name: entry for entry in tensors}
    by_tensor = [{error.tensor: error for error in one.row.layer_errors} for one in series]
    sizes = [_size(error.sqnr_db) for errors in by_tensor for error in errors.values()]
    largest = max((size for size in sizes if math.isfinite(size)), default=0.0) or 1.0

    def cell(error: LayerError | None) -> ErrorCell | None:
        if error is None:
            return None
        return ErrorCell(wording.sqnr(error.sqnr_db), min(_size(error.sqnr_db) / largest, 1.0))

    entries = []
    for layer in worst_layers_first(series):
        found = [errors.get(layer.tensor) for errors in by_tensor]
        entries.append(LayerEntry(layer.tensor, layer, tuple(map(cell, found)), calibrated.pop(layer.tensor, None)))
    nothing = (None,) * len(series)
    return entries + [LayerEntry(entry.name, None, nothing, entry) for entry in calibrated.values()]


def worst_layers_first(series: Sequence[Series]) -> list[LayerError]:
    """Return each tensor's worst error among the series, lowest SQNR first; equal ones in the model's order."""
    worst: dict[str, LayerError] = {}
    for one in series:
        for error in one.row.layer_errors:
            known = worst.get(error.tensor)
            if known is None or _size(error.sqnr_db) > _size(known.sqnr_db):
                worst[error.tensor] = error
    return sorted(worst.values(), key=lambda error: -_size(error.sqnr_db))


def worst_named(series: Sequence[Series]) -> str:
    """Name the worst layers in a sentence; empty if no layer has an error."""
    told = []
    for error in worst_layers_first(series)[:WORST_NAMED]:
        if error.sqnr_db is not None:
            where = next(one.label for one in series if error in one.row.layer_errors)
            figure = wording.sqnr(error.sqnr_db)
            unit = " dB" if figure[-1].isdigit() else ""
            told.append(f"{error.kind} {error.name} ({figure}{unit} on {where})")
    return f"Least SQNR of a layer's output: {', '.join(told)}." if told else ""


def _size(sqnr_db: float | None) -> float:
    """Return the RMS error relative to FP32's RMS value: 0.1 for 20 dB; Inf if it is not finite."""
    if sqnr_db is None:
        return 0.0
    return math.inf if sqnr_db <= NOT_FINITE_DB else 10 ** (-sqnr_db / 20)
