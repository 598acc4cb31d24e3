"""The result of a calibration: a range for every float activation, and how it was found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from quantkit.core.errors import BadConfig
from quantkit.core.preprocess import Preparation, Preprocess
from quantkit.core.ranges import TensorRange
from quantkit.core.record import Record
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.core.statistics.collected import Collected
from quantkit.core.statistics.histogram import Histogram

CALIBRATION_FILE = "calibration.json"


class ModelRef(Record):
    """The model that was calibrated.

    Attributes:
        path: The ONNX file.
        sha256: Its digest.
        batch_axis: What the user says of the batch axes, as ``[model] batch_axis``; None left it to the model.
    """

    path: str
    sha256: str
    batch_axis: int | Literal["none"] | dict[str, int | Literal["none"]] | None = None


class DataRef(Record):
    """The data that the model was calibrated on.

    Attributes:
        path: The path of the data.
        sha256: The digest over the stored bytes of all samples used, in order.
        skipped: The reason why each unreadable sample was skipped, by name.
    """

    path: str
    sha256: str
    skipped: dict[str, str] = Field(default_factory=dict)


class TensorCalibration(Record):
    """The chosen range of one tensor, in the tensor's units, and the ranges of all methods (``candidates``)."""

    amax: float
    low: float
    high: float
    method: str
    reason: str
    dead: bool = False
    candidates: dict[str, TensorRange]

    def __repr__(self) -> str:
        return f"TensorCalibration({self.method}, amax={self.amax:.5g}, low={self.low:.5g}, high={self.high:.5g})"

    @model_validator(mode="after")
    def _check(self) -> TensorCalibration:
        TensorRange(self.amax, self.low, self.high)  # raises ValueError for what is no range
        return self

    @property
    def range(self) -> TensorRange:
        """The chosen range."""
        return TensorRange(self.amax, self.low, self.high)


class TunedFrom(Record):
    """What a tuned calibration was made from.

    Attributes:
        method: The method of the calibration that was tuned.
        exclude: Its wildcards.
        data: The samples that tuning looked at: where they are from.
        samples: Their digests, in hexadecimal.
        sizes: The numbers of bytes that one of them has; a sample of another size need not be read to be known as new.
    """

    method: str
    exclude: tuple[str, ...] = ()
    data: str
    samples: tuple[str, ...]
    sizes: tuple[int, ...]


class Calibration(Record):
    """The contents of ``calibration.json`` and of the files beside it.

    Attributes:
        exclude: Wildcards for nodes and tensors that artifacts leave in floating point. These tensors are counted, too.
        not_finite: The excluded tensors that held NaN or Inf; these are not counted.
        masked: The tensors that held -Inf, as scores behind an attention mask do; these are not counted either, and
            stay in floating point.
        files: The hex SHA-256 of the files beside it, by name.
        tuned: What it was made from by tuning; None if it was not tuned.
        equalize_sums: True if artifacts equalize the channels of sums of Convs, too.
        sample: The first sample that was counted, as one run of the model takes it, from ``sample.npz``; None if it is
            not known.
        biases: What tuning subtracts from layers' biases, (C,) by the layer's output, from ``biases.npz``.
        collected: Everything that the pass counted, from ``histograms.npz`` and ``statistics.npz``.
        folder: The run directory that it was saved to or loaded from; None if it is only in memory.
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
    masked: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tensors: dict[str, TensorCalibration]
    files: dict[str, str] = Field(default_factory=dict)
    tuned: TunedFrom | None = None
    equalize_sums: bool = False

    collected: Collected = Field(default_factory=lambda: Collected({}, {}, {}), exclude=True, repr=False)
    sample: dict[str, Any] | None = Field(default=None, exclude=True, repr=False)
    biases: dict[str, Any] = Field(default_factory=dict, exclude=True, repr=False)
    folder: Path | None = Field(default=None, exclude=True, repr=False)

    def __repr__(self) -> str:
        return f"Calibration({self.model.path}, {self.method}, {self.samples} samples, {len(self.tensors)} tensors)"

    def by_method(self, method: str) -> Calibration:
        """Return the calibration with the ranges that another method found in the same pass, solved already.

        Raises:
            BadConfig: No range was found by this method.
        """
        known = [set(tensor.candidates) for tensor in self.tensors.values()]
        if not all(method in candidates for candidates in known):
            raise BadConfig(
                f"The run has no ranges by the method {method!r}.",
                f"Choose among: {', '.join(sorted(set.intersection(*known)))}; quantkit calibrate finds others anew.",
            )
        tensors = {
            name: tensor.model_copy(
                update={
                    "amax": tensor.candidates[method].amax,
                    "low": tensor.candidates[method].low,
                    "high": tensor.candidates[method].high,
                    "method": method,
                }
            )
            for name, tensor in self.tensors.items()
        }
        exclude = self.exclude if self.tuned is None else self.tuned.exclude
        return self.model_copy(
            update={"method": method, "tensors": tensors, "biases": {}, "exclude": exclude, "equalize_sums": False}
        )

    @property
    def histograms(self) -> Mapping[str, Histogram]:
        """The histogram of every tensor, as calibrators receive it."""
        return self.collected.complete(self.samples)

    @property
    def channels(self) -> Mapping[str, ChannelStatistics]:
        """The minimum, maximum and mean of every tensor's channels."""
        return self.collected.channels

    @property
    def ranges(self) -> dict[str, TensorRange]:
        """The chosen range of every tensor, in graph order."""
        return {name: tensor.range for name, tensor in self.tensors.items()}
