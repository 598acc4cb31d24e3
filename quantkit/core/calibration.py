"""The result of calibration: a range for every float activation, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from quantkit.core.preprocess import Preparation, Preprocess
from quantkit.core.ranges import TensorRange
from quantkit.core.record import Record
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.core.statistics.collected import Collected
from quantkit.core.statistics.histogram import Histogram

CALIBRATION_FILE = "calibration.json"


class ModelRef(Record):
    """The model that was calibrated."""

    path: str
    sha256: str


class DataRef(Record):
    """The data it was calibrated on. ``sha256`` covers the stored bytes of every sample used, in order.

    ``skipped`` maps the name of each unreadable sample to the reason.
    """

    path: str
    sha256: str
    skipped: dict[str, str] = Field(default_factory=dict)


class TensorCalibration(Record):
    """The chosen range of one tensor (units: the tensor's own), and every method's candidate."""

    amax: float
    low: float
    high: float
    method: str
    reason: str
    dead: bool = False
    candidates: dict[str, TensorRange]

    @property
    def range(self) -> TensorRange:
        """The chosen range."""
        return TensorRange(self.amax, self.low, self.high)


class Calibration(Record):
    """What ``calibration.json`` holds, and what lies beside it.

    ``exclude`` are wildcards of nodes and tensors that artifacts leave in floating point. They are counted all the
    same, but for those of them that held NaN or Inf, which ``not_finite`` names.

    ``collected`` is all that the pass counted, as it can be merged: ``histograms.npz`` and ``statistics.npz``.
    ``folder`` is the run directory that it was saved to or loaded from; None while it is only in memory.
    """

    schema_version: Literal[2] = 2
    created: str
    versions: dict[str, str]
    model: ModelRef
    data: DataRef
    preprocess: Preprocess | Preparation
    samples: int
    batch_size: int
    seed: int
    method: str
    exclude: tuple[str, ...] = ()
    not_finite: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tensors: dict[str, TensorCalibration]

    collected: Collected = Field(default_factory=lambda: Collected({}, {}, {}), exclude=True, repr=False)
    folder: Path | None = Field(default=None, exclude=True, repr=False)

    @property
    def histograms(self) -> Mapping[str, Histogram]:
        """The histogram of every tensor, as calibrators get it."""
        return self.collected.complete(self.samples)

    @property
    def channels(self) -> Mapping[str, ChannelStatistics]:
        """Minimum, maximum and mean of every tensor's channels."""
        return self.collected.channels

    @property
    def ranges(self) -> dict[str, TensorRange]:
        """The chosen range of every tensor, in graph order."""
        return {name: tensor.range for name, tensor in self.tensors.items()}
