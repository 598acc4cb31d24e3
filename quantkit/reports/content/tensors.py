"""The calibrated tensors as the report shows them: their figures, and a histogram small enough to embed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantkit.core.calibration import Calibration, TensorCalibration
from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.histogram import BINS, Counts, Histogram, folded

BARS = 128
# Colours and dash patterns in the style sheet: .m0 to .m8 in this order, and so many more for installed methods.
BUILT_IN = (
    "minmax",
    "moving-average",
    "percentile",
    "percentile-asymmetric",
    "entropy",
    "entropy-asymmetric",
    "mse",
    "mse-asymmetric",
    "mse-robust",
)
INSTALLED_STYLES = 3
U8_STEPS = 255


@dataclass(frozen=True)
class Candidate:
    """One method's range for a tensor; ``clipped`` is the share of values outside low..high, None if unknown."""

    method: str
    style: int
    range: TensorRange
    clipped: float | None
    chosen: bool

    @property
    def affine_scale(self) -> float:
        """That of asymmetric u8."""
        return (self.range.high - self.range.low) / U8_STEPS


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
            Candidate(method, styles[method], found, clipped_share(histogram, found), method == tensor.method)
            for method, found in _ranges(tensor).items()
        )
        entries.append(
            TensorEntry(
                name=name,
                chosen=tensor,
                candidates=candidates,
                clipped=clipped_share(histogram, tensor.range),
                count=histogram.total if histogram else None,
                chart=chart(histogram, candidates) if histogram and not tensor.dead else None,
            )
        )
    return entries


def method_styles(calibration: Calibration) -> dict[str, int]:
    """The line style of every method of the calibration, by number."""
    used: Iterable[str] = (method for tensor in calibration.tensors.values() for method in _ranges(tensor))
    installed = [method for method in dict.fromkeys(used) if method not in BUILT_IN]
    styles = {method: len(BUILT_IN) + index % INSTALLED_STYLES for index, method in enumerate(installed)}
    return {method: index for index, method in enumerate(BUILT_IN)} | styles


def _ranges(tensor: TensorCalibration) -> dict[str, TensorRange]:
    """Every method's range, the chosen one among them."""
    return tensor.candidates | {tensor.method: tensor.range}


def clipped_share(histogram: Histogram | None, found: TensorRange) -> float | None:
    """The share 0..1 of values outside low..high, spread evenly inside the bins that the ends fall into."""
    if histogram is None or not histogram.total:
        return None
    below = 0.0 if found.low <= histogram.minimum else _beyond(histogram.negative, -found.low / histogram.width)
    above = 0.0 if found.high >= histogram.maximum else _beyond(histogram.positive, found.high / histogram.width)
    return (below + above) / histogram.total


def _beyond(counts: Counts, position: float) -> float:
    """How many of one side's (2049,) counts lie beyond a position, in bins."""
    counts = folded(counts)
    index = min(int(position), BINS - 1)
    inside = min(position - index, 1.0)
    return float(counts[index] * (1 - inside) + counts[index + 1 :].sum())


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
        "lines": [[c.style, c.method, float(f"{c.range.amax:.6g}"), c.chosen] for c in candidates],
    }
