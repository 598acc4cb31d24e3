"""The result of comparing precisions on targets: what the gate and the report judge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from quantkit.core.figures import ROW_METRICS, Metric
from quantkit.core.predictions import Predictions
from quantkit.core.record import Record

COMPARISON_FILE = "comparison.json"
CLASSIFICATION = "classification"  # the task of files that name none
LAYER_SAMPLES = 32  # that layer errors are measured on; architecture.md says how far they are from all samples'

Share = Annotated[float, Field(ge=0, le=1)]


class Interval(Record):
    """A figure with the ends of its 95 % confidence interval; None where it has none."""

    value: float
    low: float | None = None
    high: float | None = None


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
    """What became of FP32's figure, on the same samples.

    ``lost`` samples are worse than with FP32 (right there, wrong here), ``won`` ones better. ``low`` and ``high`` are
    the drop's 95 % interval, ``p_value`` tells how often chance alone would change so much: the exact McNemar test's of
    right answers, Student's paired test's of any other value.
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

    ``metrics`` are the task's, where it could measure them; ``drop`` is by how much each is worse than FP32's on the
    same target, and ``changes`` tells more of it. ``agreement`` is the share of samples with FP32's answer; None for a
    task that has no answers to compare. ``sqnr_db`` is 10·log10(Σ ref² / Σ (ref - x)²) over all
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
    agreement: Share | None = None
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
        """True if this is the FP32 that the others are measured against."""
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
    """What ``comparison.json`` holds, and what lies beside it.

    ``task`` names what the model was measured at, and ``metrics`` say what the figures of its rows mean, the main one
    first. ``predictions_sha256`` is of the ``predictions.npz`` that belongs to it; ``predictions`` is what that holds,
    None where there is none. ``source`` is where to load it from again: its run directory, or its file where that has
    another name; None while it is only in memory.
    """

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
    task: str = CLASSIFICATION
    metrics: tuple[Metric, ...] = ()

    predictions: Predictions | None = Field(default=None, exclude=True, repr=False)
    source: Path | None = Field(default=None, exclude=True, repr=False)

    @model_validator(mode="after")
    def _check(self) -> Comparison:
        shares = {metric.name for metric in self.metrics if metric.is_share}
        for row in self.rows:
            for name, figure in row.metrics.items():
                ends = (figure.value, figure.low, figure.high)
                if name in shares and not all(end is None or 0 <= end <= 1 for end in ends):
                    raise ValueError(f"{name} of {row.key} is no share of 0 to 1")
        return self

    @property
    def folder(self) -> Path | None:
        """The run directory that it was saved to or loaded from."""
        return self.source.parent if self.source is not None and self.source.suffix == ".json" else self.source

    def metric(self, name: str) -> Metric:
        """What a figure of the rows means: one of the task's metrics, or of every row's; else a plain number."""
        own = next((metric for metric in self.metrics if metric.name == name), None)
        return own or ROW_METRICS.get(name) or Metric(name=name, title=name)

    @property
    def main_metric(self) -> str | None:
        """The task's metric that verdict and picture speak of; None where no row has one."""
        measured = [name for row in self.rows for name in row.metrics]
        declared = [metric.name for metric in self.metrics if metric.name in measured]
        return next(iter([*declared, *measured]), None)
