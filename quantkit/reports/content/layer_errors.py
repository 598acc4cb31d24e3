"""Where accuracy is lost: the layers that cause it first, or by SQNR, with the calibration of their tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from quantkit.core.comparison import LayerError, Row
from quantkit.core.decibels import NOT_FINITE_DB
from quantkit.reports import wording
from quantkit.reports.content.culprits import Culprit
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
    """A tensor of the list.

    Attributes:
        tensor: Its name.
        layer: The layer that puts it out, in its worst series; None if no series has it.
        errors: A cell for each series, None if the tensor is not in that model.
        calibrated: Its calibration; None without a range.
        culprit: What the layer loses by itself; None if that was not measured.
    """

    tensor: str
    layer: LayerError | None
    errors: tuple[ErrorCell | None, ...]
    calibrated: TensorEntry | None
    culprit: Culprit | None = None


def series_of(rows: Sequence[Row]) -> list[Series]:
    """Return a series for each row with layer errors."""
    own = [row for row in rows if row.layer_errors]
    found: list[Series] = []
    for row in own:
        nth = sum(series.target == row.target for series in found)
        found.append(Series(row, " ".join((row.target, *wording.telling(row, own))), nth))
    return found


def layer_entries(
    series: Sequence[Series], tensors: Sequence[TensorEntry], found: Sequence[Culprit] = ()
) -> list[LayerEntry]:
    """List the layers by what they lose by themselves, as far as it was measured, the worst first.

    The others follow by their worst series; then all other tensors, in the model's order.
    """
    own = {culprit.layer.tensor: culprit for culprit in reversed(found)}
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
        cells = tuple(cell(errors.get(layer.tensor)) for errors in by_tensor)
        ranged = calibrated.pop(layer.tensor, None)
        entries.append(LayerEntry(layer.tensor, layer, cells, ranged, own.pop(layer.tensor, None)))
    nothing = (None,) * len(series)
    entries += [LayerEntry(name, None, nothing, calibrated.pop(name, None), culprit) for name, culprit in own.items()]
    entries += [LayerEntry(entry.name, None, nothing, entry) for entry in calibrated.values()]
    return sorted(entries, key=lambda entry: entry.culprit.rank if entry.culprit else len(found) + 1)


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


@dataclass(frozen=True)
class Fall:
    """Where the SQNR falls most from one layer to the next: to ``error``, by ``decibels``, in series ``number``."""

    error: LayerError
    decibels: float
    number: int


def steepest_fall(series: Sequence[Series]) -> Fall | None:
    """Return the largest fall of all series along the model's order; None if no layer has less than the one before."""
    falls = []
    for number, one in enumerate(series):
        told = [e for e in one.row.layer_errors if e.sqnr_db is not None and e.sqnr_db > NOT_FINITE_DB]
        for before, error in pairwise(told):
            falls.append(Fall(error, (before.sqnr_db or 0.0) - (error.sqnr_db or 0.0), number))
    steepest = max(falls, key=lambda fall: fall.decibels, default=None)
    return steepest if steepest is not None and steepest.decibels > 0 else None


def _size(sqnr_db: float | None) -> float:
    """Return the RMS error relative to FP32's RMS value: 0.1 for 20 dB; Inf if it is not finite."""
    if sqnr_db is None:
        return 0.0
    return math.inf if sqnr_db <= NOT_FINITE_DB else 10 ** (-sqnr_db / 20)
