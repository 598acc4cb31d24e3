"""The result of calibration: a range for every float activation, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, PrivateAttr

from quantkit.core.files import write_text
from quantkit.core.histogram import HISTOGRAMS_FILE, Histogram, load_histograms, save_histograms
from quantkit.core.preprocess import Preprocess
from quantkit.core.ranges import TensorRange
from quantkit.core.record import Record, read_record

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
    """What ``calibration.json`` holds. Histograms lie beside it in ``histograms.npz``."""

    schema_version: Literal[1] = 1
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

    _histograms: Mapping[str, Histogram] = PrivateAttr(default_factory=dict)
    _folder: Path | None = PrivateAttr(default=None)

    @property
    def histograms(self) -> Mapping[str, Histogram]:
        """The histogram of every tensor."""
        return self._histograms

    @property
    def folder(self) -> Path | None:
        """The run directory it was saved to or loaded from; None when it is only in memory."""
        return self._folder

    @property
    def ranges(self) -> dict[str, TensorRange]:
        """The chosen range of every tensor, in graph order."""
        return {name: tensor.range for name, tensor in self.tensors.items()}

    def attach(self, histograms: Mapping[str, Histogram], folder: Path | None = None) -> Calibration:
        """Give it its histograms, and the folder it lies in."""
        self._histograms = histograms
        self._folder = folder
        return self

    def save(self, folder: Path) -> None:
        """Write ``calibration.json`` and ``histograms.npz`` atomically. Raises BadInput when that is impossible."""
        save_histograms(folder / HISTOGRAMS_FILE, self._histograms)
        write_text(folder / CALIBRATION_FILE, self.model_dump_json(indent=1) + "\n")
        self._folder = folder

    @classmethod
    def load(cls, folder: Path) -> Calibration:
        """Read both files from a run directory. Raises BadInput, with the mend, for a missing, damaged or stale one."""
        calibration = read_record(cls, folder / CALIBRATION_FILE, "quantkit calibrate")
        return calibration.attach(load_histograms(folder / HISTOGRAMS_FILE), folder)
