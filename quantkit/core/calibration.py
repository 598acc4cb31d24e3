"""The result of calibration: a range for every float activation, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from quantkit.core.errors import BadInput
from quantkit.core.files import write_text
from quantkit.core.histogram import HISTOGRAMS_FILE, Histogram, load_histograms, save_histograms
from quantkit.core.preprocess import Preprocess
from quantkit.core.ranges import TensorRange

CALIBRATION_FILE = "calibration.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelRef(_Frozen):
    """The model that was calibrated."""

    path: str
    sha256: str


class DataRef(_Frozen):
    """The data it was calibrated on. ``sha256`` covers the stored bytes of every sample used, in order.

    ``skipped`` maps the name of each unreadable sample to the reason.
    """

    path: str
    sha256: str
    skipped: dict[str, str] = Field(default_factory=dict)


class TensorCalibration(_Frozen):
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


class Calibration(_Frozen):
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
        calibration = read_versioned(cls, folder / CALIBRATION_FILE, "quantkit calibrate")
        return cast("Calibration", calibration).attach(load_histograms(folder / HISTOGRAMS_FILE), folder)


def read_versioned(kind: type[Any], path: Path, command: str) -> Any:
    """Parse a JSON file into a pydantic model; BadInput tells to run ``command`` again where it is missing or stale."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read.", f"Make it with {command}.") from error
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        problems = {".".join(map(str, problem["loc"])): problem["msg"] for problem in error.errors()}
        stale = "schema_version" in problems
        where, message = next(iter(problems.items()))
        raise BadInput(
            f"{path} was written by another version of quantkit."
            if stale
            else f"{path} is damaged ({where or 'the file'}: {message}).",
            f"Make it again with {command}.",
        ) from error
