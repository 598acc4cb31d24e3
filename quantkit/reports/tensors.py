"""The calibrated tensors as the report shows them: their figures, and a histogram small enough to embed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantkit.core.calibration import Calibration, TensorCalibration
from quantkit.core.histogram import BINS, Histogram

BARS = 128
LINE_STYLES = 8  # colours and dash patterns in the style sheet, .m0 to .m7
BUILT_IN = ("minmax", "percentile", "entropy", "mse")  # keep the same style in every report


@dataclass(frozen=True)
class Candidate:
    """One method's symmetric range for a tensor; ``clipped`` is the share of values beyond it, None if unknown."""

    method: str
    style: int
    amax: float
    clipped: float | None
    chosen: bool


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of the list."""

    name: str
    chosen: TensorCalibration
    candidates: tuple[Candidate, ...]
    clipped: float | None
    count: int | None
    chart: dict[str, Any] | None


def tensor_entries(calibration: Calibration) -> list[TensorEntry]:
    """Every tensor of the calibration, in graph order."""
    styles = method_styles(calibration)
    entries = []
    for name, tensor in calibration.tensors.items():
        histogram = calibration.histograms.get(name)
        candidates = tuple(
            Candidate(method, styles[method], amax, clipped_share(histogram, amax), method == tensor.method)
            for method, amax in _amaxes(tensor).items()
        )
        entries.append(
            TensorEntry(
                name=name,
                chosen=tensor,
                candidates=candidates,
                clipped=clipped_share(histogram, tensor.amax),
                count=histogram.total if histogram else None,
                chart=chart(histogram, candidates) if histogram and not tensor.dead else None,
            )
        )
    return entries


def method_styles(calibration: Calibration) -> dict[str, int]:
    """The line style of every method of the calibration, by number."""
    used: Iterable[str] = (method for tensor in calibration.tensors.values() for method in _amaxes(tensor))
    others = [method for method in dict.fromkeys(used) if method not in BUILT_IN]
    return {method: index % LINE_STYLES for index, method in enumerate((*BUILT_IN, *others))}


def _amaxes(tensor: TensorCalibration) -> dict[str, float]:
    """Every method's amax, the chosen one among them."""
    return {method: found.amax for method, found in tensor.candidates.items()} | {tensor.method: tensor.amax}


def clipped_share(histogram: Histogram | None, amax: float) -> float | None:
    """The share 0..1 of values with |x| > amax, spread evenly inside the bin that amax falls into."""
    if histogram is None or not histogram.total:
        return None
    if amax >= histogram.largest:
        return 0.0
    counts = histogram.absolute
    position = amax / histogram.width
    index = min(int(position), BINS - 1)
    inside = min(position - index, 1.0)
    return float((counts[index] * (1 - inside) + counts[index + 1 :].sum()) / histogram.total)


def chart(histogram: Histogram, candidates: Iterable[Candidate]) -> dict[str, Any] | None:
    """What the script draws: ``width`` of a bar, its ``counts`` of |x|, ``lines`` as [style, method, amax, chosen].

    Empty bins beyond the largest value are left out. None for an empty histogram.
    """
    counts = histogram.absolute
    used = np.flatnonzero(counts)
    if not used.size:
        return None
    per_bar = math.ceil((int(used[-1]) + 1) / BARS)
    bars = np.add.reduceat(counts, np.arange(0, int(used[-1]) + 1, per_bar))
    return {
        "width": float(f"{per_bar * histogram.width:.6g}"),
        "counts": bars.tolist(),
        "lines": [[c.style, c.method, float(f"{c.amax:.6g}"), c.chosen] for c in candidates if math.isfinite(c.amax)],
    }
