"""The calibrated tensors as shown in the report: their figures, and a histogram small enough to embed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantkit.core.calibration import Calibration, TensorCalibration
from quantkit.core.ranges import STEPS, TensorRange
from quantkit.core.statistics.histogram import BINS, Counts, Histogram, folded

BARS = 128
STYLES = 12  # of lines in the style sheet, .m0 to .m11: more than there are methods


@dataclass(frozen=True)
class MethodRange:
    """The range of a tensor by one method.

    Attributes:
        method: The method.
        style: The number of its line's style.
        range: The range.
        clipped: The share of values outside ±amax, the symmetric range; None if unknown.
        clipped_affine: The share of values outside low..high, the asymmetric range; None if unknown.
        chosen: True for the range that is used.
    """

    method: str
    style: int
    range: TensorRange
    clipped: float | None
    clipped_affine: float | None
    chosen: bool

    @property
    def affine_scale(self) -> float:
        """The scale of asymmetric u8."""
        return (self.range.high - self.range.low) / STEPS


@dataclass(frozen=True)
class TensorEntry:
    """A tensor of the list; ``clipped`` is the share of values outside ±amax, which the histogram's line stands at."""

    name: str
    chosen: TensorCalibration
    ranges: tuple[MethodRange, ...]
    clipped: float | None
    count: int | None
    chart: dict[str, Any] | None


def tensor_entries(calibration: Calibration) -> list[TensorEntry]:
    """List all tensors of the calibration, in graph order."""
    styles = method_styles(calibration)
    entries = []
    for name, tensor in calibration.tensors.items():
        histogram = calibration.histograms.get(name)
        ranges = tuple(
            MethodRange(
                method,
                styles[method],
                found,
                clipped_share(histogram, symmetric(found)),
                clipped_share(histogram, found),
                method == tensor.method,
            )
            for method, found in _ranges(tensor).items()
        )
        entries.append(
            TensorEntry(
                name=name,
                chosen=tensor,
                ranges=ranges,
                clipped=clipped_share(histogram, symmetric(tensor.range)),
                count=histogram.total if histogram else None,
                chart=chart(histogram, ranges) if histogram and not tensor.dead else None,
            )
        )
    return entries


def method_styles(calibration: Calibration) -> dict[str, int]:
    """Return the number of the line style of every method, in the order of the calibration's ranges."""
    used: Iterable[str] = (method for tensor in calibration.tensors.values() for method in _ranges(tensor))
    return {method: index % STYLES for index, method in enumerate(dict.fromkeys(used))}


def _ranges(tensor: TensorCalibration) -> dict[str, TensorRange]:
    """Return the range by every method, including the chosen one."""
    return tensor.candidates | {tensor.method: tensor.range}


def symmetric(found: TensorRange) -> TensorRange:
    """Return ±amax as the low and high of a range."""
    return TensorRange(found.amax, -found.amax, found.amax)


def clipped_share(histogram: Histogram | None, found: TensorRange) -> float | None:
    """Return the share 0..1 of values outside low..high, assumed uniform inside bins; None without a histogram."""
    if histogram is None or not histogram.total:
        return None
    below = 0.0 if found.low <= histogram.minimum else _beyond(histogram.negative, -found.low / histogram.width)
    above = 0.0 if found.high >= histogram.maximum else _beyond(histogram.positive, found.high / histogram.width)
    return (below + above) / histogram.total


def _beyond(counts: Counts, position: float) -> float:
    """Return how many of one side's (2049,) counts lie beyond a position, in bins."""
    counts = folded(counts)
    index = min(int(position), BINS - 1)
    inside = min(position - index, 1.0)
    return float(counts[index] * (1 - inside) + counts[index + 1 :].sum())


def chart(histogram: Histogram, ranges: Iterable[MethodRange]) -> dict[str, Any] | None:
    """Make the data of a chart for the page's script.

    Args:
        histogram: The tensor's histogram; empty bins beyond the largest value are left out.
        ranges: The ranges to mark.

    Returns:
        ``width`` of a bar, ``counts`` of |x| in each bar, ``lines`` as [style, method, amax, chosen]; None for an empty
        histogram.
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
        "lines": [[c.style, c.method, float(f"{c.range.amax:.6g}"), c.chosen] for c in ranges],
    }
