"""How tests count: a first batch, then samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantkit.calibrators.collect import Collector, first_widths, note_maxima
from quantkit.core.statistics.collected import Collected
from quantkit.core.statistics.histogram import Histogram


def collected(
    first: np.ndarray, samples: Sequence[np.ndarray], positions: Sequence[int] | None = None, total: int = 0
) -> Collected:
    """Of one tensor, "x": ``samples`` at ``positions`` of ``total``, bins fixed by ``first``."""
    maxima: dict[str, float] = {}
    note_maxima(maxima, {"x": first})
    collector = Collector(first_widths(maxima), total or len(samples))
    for position, sample in zip(positions or range(len(samples)), samples, strict=True):
        collector.observe({"x": sample}, position)
    return collector.collected()


def histogram_of(first: np.ndarray, *samples: np.ndarray) -> Histogram:
    """The histogram of ``samples``."""
    return collected(first, samples).histograms["x"]
