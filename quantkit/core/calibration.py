"""The result of calibration: a range for every float activation, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, PrivateAttr

from quantkit.core.files import write_text
from quantkit.core.preprocess import Preprocess
from quantkit.core.ranges import TensorRange
from quantkit.core.record import Record, read_record
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
    """What ``calibration.json`` holds. ``histograms.npz`` and ``statistics.npz`` lie beside it."""

    schema_version: Literal[2] = 2
    created: str
    versions: dict[str, str]
    model: ModelRef
    data: DataRef
    preprocess: Preprocess
    samples: int
    batch_size: int
    seed: int
    method: str
    exclude: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tensors: dict[str, TensorCalibration]

    _collected: Collected = PrivateAttr(default_factory=lambda: Collected({}, {}, {}))
    _folder: Path | None = PrivateAttr(default=None)

    @property
    def histograms(self) -> Mapping[str, Histogram]:
        """The histogram of every tensor."""
        return self._collected.histograms

    @property
    def channels(self) -> Mapping[str, ChannelStatistics]:
        """Minimum, maximum and mean of every tensor's channels."""
        return self._collected.channels

    @property
    def collected(self) -> Collected:
        """All that the pass found, as it can be merged."""
        return self._collected

    @property
    def folder(self) -> Path | None:
        """The run directory it was saved to or loaded from; None when it is only in memory."""
        return self._folder

    @property
    def ranges(self) -> dict[str, TensorRange]:
        """The chosen range of every tensor, in graph order."""
        return {name: tensor.range for name, tensor in self.tensors.items()}

    def attach(self, collected: Collected, folder: Path | None = None) -> Calibration:
        """Give it what the pass collected, and the folder it lies in."""
        self._collected = collected
        self._folder = folder
        return self

    def save(self, folder: Path) -> None:
        """Write ``calibration.json``, ``histograms.npz`` and ``statistics.npz``, each atomically.

        Raises BadInput when that is impossible.
        """
        self._collected.save(folder)
        write_text(folder / CALIBRATION_FILE, self.model_dump_json(indent=1) + "\n")
        self._folder = folder

    @classmethod
    def load(cls, folder: Path) -> Calibration:
        """Read the files of a run directory. Raises BadInput, with the mend, for a missing, damaged or stale one."""
        calibration = read_record(cls, folder / CALIBRATION_FILE, "quantkit calibrate")
        return calibration.attach(Collected.load(folder), folder)
