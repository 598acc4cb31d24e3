"""The result of comparing precisions on targets: what the gate and the report judge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, PrivateAttr

from quantkit.core.files import sha256_of, write_npz, write_text
from quantkit.core.predictions import PREDICTIONS_FILE, Predictions
from quantkit.core.record import Record, read_record

COMPARISON_FILE = "comparison.json"
LAYER_SAMPLES = 32  # that layer errors are measured on; architecture.md says how far they are from all samples'

Share = Annotated[float, Field(ge=0, le=1)]


class Interval(Record):
    """A share in 0..1 with its 95 % confidence interval."""

    value: Share
    low: Share
    high: Share


class Latency(Record):
    """Percentiles of one inference's duration in milliseconds.

    ``p50_low`` and ``p50_high`` are the least and the largest median of a round: how far p50 moves from run to run.
    """

    p10: PositiveFloat
    p50: PositiveFloat
    p90: PositiveFloat
    p99: PositiveFloat
    p50_low: PositiveFloat | None = None
    p50_high: PositiveFloat | None = None


class Change(Record):
    """What became of FP32's right and wrong answers, on the same samples.

    ``lost`` samples FP32 had right and this one has not, ``won`` the other way round. ``low`` and ``high`` are the
    drop's 95 % interval, ``p_value`` is the exact McNemar test's: how often chance alone would change so much.
    """

    lost: int
    won: int
    low: float
    high: float
    p_value: float


class LayerTime(Record):
    """One layer of a compiled model: what it computes in, and its mean milliseconds when timed by itself.

    Where the runtime tells: ``kind`` is the layer's type and ``kernel`` what computes it. ``meant`` is the precision
    that the file asks for, and ``reason`` says why another one ran instead.
    """

    name: str
    precision: str
    ms: float
    kind: str = ""
    kernel: str = ""
    meant: str = ""
    reason: str = ""


class LayerError(Record):
    """What INT8 makes of one layer's output: ``tensor`` of the user's model, put out by the node ``name``.

    ``kind`` is the operator, or "Input" for what the model takes. ``sqnr_db`` is 10·log10(Σ ref² / Σ (ref - x)²)
    against FP32 over all samples looked at, of the rounded tensor where it is rounded; None where it is equal to the
    bit, -300 where it is no number.
    """

    name: str
    tensor: str
    kind: str
    sqnr_db: float | None


class GpuLoad(Record):
    """The GPU while one row's model ran on it without pause, by NVML; None where NVML does not tell.

    ``memory_bytes`` is what the loaded model took.
    """

    memory_bytes: int
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    power_w: float | None = None
    temperature_c: int | None = None


class Row(Record):
    """One target × device × precision × variant × batch, measured.

    ``metrics`` (top1, top5) are there where labels are. ``drop`` is the same target's FP32 value minus this one, 0..1;
    ``changes`` tells more of it, by metric.
    ``agreement`` is the share of samples with FP32's answer. ``sqnr_db`` is 10·log10(Σ ref² / Σ (ref - x)²) over all
    samples, of the worst output; None for FP32 itself and for outputs equal to the bit. ``latency_ms`` is at ``batch``;
    ``throughput`` counts samples per second; ``speedup`` is FP32's p50 over this p50. ``size_bytes`` is the file's.

    On a GPU ``latency_ms`` is the network alone, by the device's clock, and ``latency_with_copies_ms`` has the copies
    between host and device, through pinned memory; ``latency_graph_ms`` is the network alone, launched as one CUDA
    graph, where it can be; ``throughput`` is of inferences enqueued back to back, kernel by kernel. ``layers``
    are timed at the first batch size, and ``layer_errors`` stand in the same rows, in the model's order, computed on
    the CPU; empty where they are not known. ``runtime`` is how the runtime ran it, in its own words: threads, streams
    and so on.
    """

    target: str
    device: str
    precision: str
    variant: str
    batch: int
    executed_precision: str
    metrics: dict[str, Interval] = Field(default_factory=dict)
    drop: dict[str, float] = Field(default_factory=dict)
    agreement: Share
    sqnr_db: float | None
    latency_ms: Latency
    throughput: PositiveFloat
    speedup: PositiveFloat
    size_bytes: PositiveInt
    notes: tuple[str, ...] = ()
    latency_with_copies_ms: Latency | None = None
    latency_graph_ms: Latency | None = None
    gpu: GpuLoad | None = None
    layers: tuple[LayerTime, ...] = ()
    runtime: dict[str, str] = Field(default_factory=dict)
    changes: dict[str, Change] = Field(default_factory=dict)
    agreement_interval: Interval | None = None
    layer_errors: tuple[LayerError, ...] = ()

    @property
    def key(self) -> str:
        """What tells the compared models apart, whatever the batch."""
        return model_key(self.target, self.device, self.precision, self.variant)

    @property
    def is_reference(self) -> bool:
        """Whether this is the FP32 that the others are measured against."""
        return self.precision == "fp32"


def model_key(target: str, device: str, precision: str, variant: str) -> str:
    """See :attr:`Row.key`."""
    return " ".join(filter(None, (target, device, precision, variant)))


class Environment(Record):
    """The machine and the versions that the figures come from."""

    quantkit: str
    python: str
    platform: str
    cpu: str
    cores: int
    packages: dict[str, str]
    measured: str
    gpu: str = ""

    @property
    def hardware(self) -> str:
        """What latencies belong to: the CPU, its cores, and the GPU, where one was measured."""
        gpu = self.gpu.partition(", driver ")[0]
        return f"{self.cpu}, {self.cores} cores{f', {gpu}' if gpu else ''}"


class Comparison(Record):
    """What ``comparison.json`` holds; ``predictions_sha256`` is of the ``predictions.npz`` that belongs to it."""

    schema_version: Literal[1] = 1
    model: str
    data: str
    data_sha256: str
    samples: int
    labelled: int
    method: str
    rows: tuple[Row, ...] = Field(min_length=1)
    environment: Environment
    warnings: tuple[str, ...] = ()
    predictions_sha256: str = ""

    _predictions: Predictions | None = PrivateAttr(default=None)
    _folder: Path | None = PrivateAttr(default=None)
    _file: Path | None = PrivateAttr(default=None)

    @property
    def source(self) -> Path | None:
        """Where to load it from again: its run directory, or its file where that has another name."""
        return self._folder if self._file is None or self._file.name == COMPARISON_FILE else self._file

    @property
    def folder(self) -> Path | None:
        """The run directory it was saved to or loaded from."""
        return self._folder

    def attach(self, predictions: Predictions | None) -> Comparison:
        """The same with the samples' answers."""
        self._predictions = predictions
        return self

    @property
    def predictions(self) -> Predictions | None:
        """The samples' answers; None where there are none, or the file beside this one is another comparison's."""
        if self._predictions is None and self._folder is not None and self.predictions_sha256:
            path = self._folder / PREDICTIONS_FILE
            if path.is_file() and sha256_of(path) == self.predictions_sha256:
                self._predictions = Predictions.load(path)
        return self._predictions

    def save(self, folder: Path) -> Comparison:
        """Write ``comparison.json``, and ``predictions.npz`` before it; returns the comparison as it was written."""
        path = folder / PREDICTIONS_FILE
        digest = ""
        if self._predictions is None:
            path.unlink(missing_ok=True)
        else:
            write_npz(path, self._predictions.arrays())
            digest = sha256_of(path)
        saved = self.model_copy(update={"predictions_sha256": digest})
        write_text(folder / COMPARISON_FILE, saved.model_dump_json(indent=1) + "\n")
        self._folder = saved._folder = folder
        return saved

    @classmethod
    def load(cls, path: Path) -> Comparison:
        """Read it from a run directory, or a file. Raises BadInput for a missing, damaged or stale file."""
        file = path if path.is_file() else path / COMPARISON_FILE
        comparison = read_record(cls, file, "quantkit compare")
        comparison._folder, comparison._file = file.parent, file
        return comparison
