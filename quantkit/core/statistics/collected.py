"""The statistics of all activations from a pass over the calibration data, or over a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from quantkit.core.by_value import ByValue
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.core.statistics.extent import Extent
from quantkit.core.statistics.histogram import Histogram
from quantkit.core.statistics.moments import Moments

Part = TypeVar("Part", Histogram, ChannelStatistics, Extent, Moments)


@dataclass(frozen=True, eq=False)
class Collected(ByValue):
    """Histograms, channel statistics and extents, all by tensor name and in graph order.

    ``moments`` are those of layers' inputs, by ``LayerRows.key``; empty if they were not asked for.
    """

    histograms: dict[str, Histogram]
    channels: dict[str, ChannelStatistics]
    extents: dict[str, Extent]
    moments: dict[str, Moments] = field(default_factory=dict)

    def merged(self, other: Collected) -> Collected:
        """Merge two sets of images; the result is bit-exact with a single pass over both.

        Tensors of either are kept.
        """
        return Collected(
            _merged(self.histograms, other.histograms),
            _merged(self.channels, other.channels),
            _merged(self.extents, other.extents),
            _merged(self.moments, other.moments),
        )

    def complete(self, samples: int) -> dict[str, Histogram]:
        """Return the histograms as calibrators receive them: with their extents and the number of ``samples``."""
        return {
            name: replace(histogram, extent=self.extents.get(name, Extent()), samples=samples)
            for name, histogram in self.histograms.items()
        }

    def ordered(self, names: Sequence[str]) -> Collected:
        """Return the same with the tensors in the order of ``names``, which must contain all of them."""
        return Collected(
            {name: self.histograms[name] for name in names if name in self.histograms},
            {name: self.channels[name] for name in names if name in self.channels},
            {name: self.extents[name] for name in names if name in self.extents},
            self.moments,
        )


def _merged(a: dict[str, Part], b: dict[str, Part]) -> dict[str, Part]:
    return {name: a[name].merged(b[name]) if name in a and name in b else (a | b)[name] for name in a | b}
