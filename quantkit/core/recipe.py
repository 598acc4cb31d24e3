"""The ingredients of artifacts: the ranges of a calibration, perhaps changed by a stage in between."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.calibration import Calibration
from quantkit.core.files import digest_of
from quantkit.core.preprocess import Preparation, Preprocess
from quantkit.core.ranges import TensorRange
from quantkit.core.refinements import Refinements
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.core.statistics.histogram import Histogram
from quantkit.core.statistics.moments import Moments
from quantkit.core.wildcards import matches
from quantkit.core.wording import some


@dataclass(frozen=True)
class Recipe:
    """Ranges, exclusions and weights that every target's artifacts are made from.

    A stage between calibration and export, such as tuning, passes on a changed copy.

    Attributes:
        calibration: The calibration.
        ranges: The ranges of all calibrated tensors, those that ``exclude`` names among them.
        exclude: Wildcards for nodes and tensors that stay in floating point.
        weights: Replacements for initializers of the quantized model, by name, with the same shape and dtype. FP32 and
            FP16 artifacts keep the user's weights.
        biases: What is subtracted from the biases of quantized layers, (C,), by the layer's output before any
            activation function, in the units of the user's model.
        equalize_sums: True to equalize the channels of sums of Convs, too, whose values nothing bounds.
    """

    calibration: Calibration
    ranges: Mapping[str, TensorRange]
    exclude: tuple[str, ...] = ()
    weights: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    biases: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    equalize_sums: bool = False

    def __repr__(self) -> str:
        return f"Recipe({self.calibration!r}, changes={self.changes!r})"

    @classmethod
    def of(cls, calibration: Calibration, exclude: Sequence[str] | None = None) -> Recipe:
        """Make the recipe of a calibration; ``exclude`` replaces the calibration's wildcards."""
        own = tuple(calibration.exclude if exclude is None else exclude)
        return cls(
            calibration, calibration.ranges, own, biases=calibration.biases, equalize_sums=calibration.equalize_sums
        )

    @property
    def quantized_ranges(self) -> dict[str, TensorRange]:
        """The ranges without those of tensors that ``exclude`` names: what targets may quantize."""
        return {name: own for name, own in self.ranges.items() if not matches(name, self.exclude)}

    @property
    def changes(self) -> str:
        """How the recipe differs from its calibration, in words; empty if it does not."""
        own = self.calibration.ranges
        ranges = [name for name in self.ranges.keys() | own.keys() if self.ranges.get(name) != own.get(name)]
        parts = [f"the ranges of {some(sorted(ranges))}"] if ranges else []
        parts += [f"exclude = {list(self.exclude)}"] if self.exclude != self.calibration.exclude else []
        parts += [f"the weights {some(list(self.weights))}"] if self.weights else []
        parts += ["biases"] if not _same(self.biases, self.calibration.biases) else []
        parts += ["equalize_sums"] if self.equalize_sums != self.calibration.equalize_sums else []
        return ", ".join(parts)

    def digest(self, quantized: bool) -> str:
        """Return the hex SHA-256 of everything that affects an artifact.

        Unless it is ``quantized``, that is the model, and which tensors FP16 cannot hold: another method may clip one.
        """
        if not quantized:
            beyond = [name for name, own in self.ranges.items() if not own.fits_half]
            return digest_of([self.calibration.model.sha256, *([beyond] if beyond else [])])
        weights, biases = (
            {name: hashlib.sha256(f"{v.dtype}{v.shape}".encode() + v.tobytes()).hexdigest() for name, v in own.items()}
            for own in (self.weights, self.biases)
        )
        ranges = {name: (own.amax, own.low, own.high) for name, own in self.quantized_ranges.items()}
        data = self.calibration.data.sha256  # biases are corrected with the channel means of this data
        rounding = "least-squares" if self.moments else "nearest"
        return digest_of(
            [
                self.calibration.model.sha256,
                weights,
                ranges,
                list(self.exclude),
                data,
                rounding,
                biases,
                self.equalize_sums,
            ]
        )

    @property
    def channels(self) -> Mapping[str, ChannelStatistics]:
        """The minimum, maximum and mean of every tensor's channels."""
        return self.calibration.channels

    @property
    def histograms(self) -> Mapping[str, Histogram]:
        """The histogram of every tensor; empty if the ranges were imported."""
        return self.calibration.collected.histograms

    @property
    def moments(self) -> Mapping[str, Moments]:
        """The second moments of layers' inputs; empty if weights are rounded to nearest."""
        return self.calibration.collected.moments

    @property
    def refinements(self) -> Refinements:
        """What the dialects do to weights, biases and channels."""
        return Refinements(self.moments, self.biases, self.equalize_sums)

    @property
    def method(self) -> str:
        """The calibration method."""
        return self.calibration.method

    @property
    def preprocess(self) -> Preparation | Preprocess:
        """The preprocessing of the calibration samples."""
        return self.calibration.preprocess


def _same(a: Mapping[str, npt.NDArray[Any]], b: Mapping[str, npt.NDArray[Any]]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
