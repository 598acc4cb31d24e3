"""Statistics of the channels of an activation tensor, for bias correction and equalization."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from quantkit.core.by_value import ByValue


@dataclass(frozen=True, eq=False)
class ChannelStatistics(ByValue):
    """The minimum, maximum and mean of every channel; merging is exact.

    A tensor whose number of channels differs between samples has C = 0.

    Attributes:
        minimum: float32 of shape (C,), in the tensor's units.
        maximum: float32 of shape (C,), in the tensor's units.
        total: int64 of shape (C,): the sum over ``samples`` of each sample's channel mean, in multiples of ``unit``.
            Because these are integers, the parts of a divided set add up to exactly the whole.
        unit: The unit of ``total``.
        samples: The number of samples.
    """

    minimum: npt.NDArray[np.float32]
    maximum: npt.NDArray[np.float32]
    total: npt.NDArray[np.int64]
    unit: float
    samples: int

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """The mean of every channel over all samples, float64 of shape (C,): E[x] of Nagel et al., "Data-Free
        Quantization Through Weight Equalization and Bias Correction" (2019), https://arxiv.org/abs/1906.04721."""
        means: npt.NDArray[np.float64] = self.total * np.float64(self.unit / max(self.samples, 1))
        return means

    def merged(self, other: ChannelStatistics) -> ChannelStatistics:
        """Merge the statistics of two sets of samples. Raises ValueError if the units differ."""
        if self.unit != other.unit:
            raise ValueError(f"cannot merge channel means in units of {self.unit} and {other.unit}")
        samples = self.samples + other.samples
        if self.total.shape != other.total.shape:
            return replace(self.none(), samples=samples)
        return ChannelStatistics(
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
            self.total + other.total,
            self.unit,
            samples,
        )

    def none(self) -> ChannelStatistics:
        """Return the same without any channel."""
        return replace(self, minimum=self.minimum[:0], maximum=self.maximum[:0], total=self.total[:0])
