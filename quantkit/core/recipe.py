"""What artifacts are made from: a calibration's ranges, and what a stage between may have changed of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy.typing as npt

from quantkit.core.calibration import Calibration
from quantkit.core.files import digest_of
from quantkit.core.preprocess import Preparation, Preprocess
from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.channels import ChannelStatistics


@dataclass(frozen=True)
class Recipe:
    """Ranges, exclusions and weights that every target's artifacts are made from.

    Nodes and tensors that a wildcard of ``exclude`` names stay in floating point; ``ranges`` are those of the other
    tensors. ``weights`` stand in for initializers of the model in what is quantized, by name, in their own
    shape and dtype; FP32 and FP16 stay the user's model. A stage between calibration and export, such as tuning, hands
    over a changed copy; neither of the two knows of it.
    """

    calibration: Calibration
    ranges: Mapping[str, TensorRange]
    exclude: tuple[str, ...] = ()
    weights: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, calibration: Calibration, exclude: Sequence[str] | None = None) -> Recipe:
        """The calibration as it is; ``exclude`` stands in for its own wildcards."""
        return cls(calibration, calibration.ranges, tuple(calibration.exclude if exclude is None else exclude))

    def __post_init__(self) -> None:
        kept = {name: own for name, own in self.ranges.items() if not matches(name, self.exclude)}
        object.__setattr__(self, "ranges", kept)

    def digest(self, quantized: bool) -> str:
        """Hex SHA-256 of all that decides an artifact; ranges and weights decide those alone that are ``quantized``."""
        if not quantized:
            return digest_of([self.calibration.model.sha256])
        weights = {name: hashlib.sha256(values.tobytes()).hexdigest() for name, values in self.weights.items()}
        ranges = {name: (own.amax, own.low, own.high) for name, own in self.ranges.items()}
        data = self.calibration.data.sha256  # whose channel means correct biases
        return digest_of([self.calibration.model.sha256, weights, ranges, list(self.exclude), data])

    @property
    def channels(self) -> Mapping[str, ChannelStatistics]:
        """Minimum, maximum and mean of every tensor's channels."""
        return self.calibration.channels

    @property
    def method(self) -> str:
        """The calibration method."""
        return self.calibration.method

    @property
    def preprocess(self) -> Preparation | Preprocess:
        """What was done to the samples."""
        return self.calibration.preprocess


def matches(name: str, patterns: Sequence[str]) -> bool:
    """True if one of the wildcards names it."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
