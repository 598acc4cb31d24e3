"""Predicts, from histograms, what rounding a tensor would leave of its values.

Rounding to a grid of step s adds noise of s²/12 (uniform within a step). What it ruins is not always seen in the
signal-to-noise ratio of the whole tensor: a mask of -1e9, a few outliers, or boxes of 0 to 640 beside scores of 0 to 1
hold nearly all of its power, and the rest, which matters, falls into one step. So the signal here is the variance of
the bulk: of all values but the largest thousandth by magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.core.statistics.histogram import Histogram

TAIL = 1e-3  # the share of the largest values, by magnitude, that do not count as signal
RUINED = 6.0  # dB; below it, noise is more than a quarter of the signal. Tensors of healthy CNNs have 11 and more
RUINED_PART = 3.0  # dB; the same for a part of a tensor, whose weight in the whole is not known
SPREAD = 8.0  # (maximum - minimum) / standard deviation of a channel, about that of 10,000 Gaussian values
FLAT = 1e-4  # a channel's extent relative to the tensor's largest; below it, a channel counts as constant


def bulk_variance(histogram: Histogram) -> float:
    """Return the variance of all values but the largest thousandth by magnitude, in the tensor's units squared.

    Values of a tensor with a few large ones may all lie in the first bin; then they count as spread evenly over it.
    """
    counts = np.concatenate([histogram.negative[::-1], histogram.positive]).astype(np.float64)
    middle = np.arange(len(histogram.positive)) + 0.5
    values = np.concatenate([-middle[::-1], middle])
    by_size = np.argsort(-np.abs(values), kind="stable")
    cut = by_size[counts[by_size].cumsum() <= TAIL * counts.sum()]
    counts[cut] = 0
    total = counts.sum()
    if not total:
        return 0.0
    mean = (counts * values).sum() / total
    variance = (counts * (values - mean) ** 2).sum() / total
    return float((variance + 1 / 12) * histogram.width**2)


def expected_sqnr(variance: float, step: float) -> float:
    """Return the signal-to-noise ratio, in dB, of a signal of this variance rounded to this step; inf for no step."""
    noise = step**2 / 12
    return 10 * math.log10(max(variance, 1e-300) / noise) if noise > 0 else math.inf


class Noise:
    """The expected noise of pairs on a model's tensors.

    Args:
        histograms: The histograms by tensor; a tensor without one is never expected to be ruined.
        channels: The statistics of channels by tensor.
    """

    def __init__(
        self, histograms: Mapping[str, Histogram] | None, channels: Mapping[str, ChannelStatistics] | None
    ) -> None:
        self._histograms, self._channels = histograms or {}, channels or {}
        self._variances: dict[str, float] = {}

    def of(self, name: str, step: float) -> float:
        """Return the expected SQNR, in dB, of the bulk of a tensor rounded to a step; inf if nothing is known of it.

        A tensor that is constant, such as one that is all zero, has no signal to ruin.
        """
        histogram = self._histograms.get(name)
        if histogram is None or histogram.minimum == histogram.maximum:
            return math.inf
        if name not in self._variances:
            self._variances[name] = bulk_variance(histogram)
        return expected_sqnr(self._variances[name], step)

    def of_worst_channel(self, name: str, step: float) -> float:
        """Return the expected SQNR, in dB, of the channel that rounding hurts most; inf if channels are not known.

        A channel's variance is estimated from its extremes. Channels that hardly change are left out.
        """
        own = self._channels.get(name)
        if own is None or not len(own.minimum):
            return math.inf
        extent: npt.NDArray[np.float64] = own.maximum.astype(np.float64) - own.minimum
        alive = extent[extent > FLAT * extent.max(initial=0.0)]
        if not len(alive) or not np.isfinite(alive).all():
            return math.inf
        return expected_sqnr(float((alive.min() / SPREAD) ** 2), step)
