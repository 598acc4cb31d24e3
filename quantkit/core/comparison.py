"""The result of comparing precisions on targets: what the gate and the report judge."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PrivateAttr

from quantkit.core.files import write_text
from quantkit.core.record import Record, read_record

COMPARISON_FILE = "comparison.json"


class Interval(Record):
    """A share in 0..1 with its 95 % confidence interval."""

    value: float
    low: float
    high: float


class Latency(Record):
    """Percentiles of one inference's duration in milliseconds."""

    p10: float
    p50: float
    p90: float
    p99: float


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

    ``metrics`` (top1, top5) are there where labels are. ``drop`` is the same target's FP32 value minus this one, 0..1.
    ``agreement`` is the share of samples with FP32's answer. ``sqnr_db`` is 10·log10(Σ ref² / Σ (ref - x)²) over all
    samples, of the worst output; None for FP32 itself and for outputs equal to the bit. ``latency_ms`` is at ``batch``;
    ``throughput`` counts samples per second; ``speedup`` is FP32's p50 over this p50. ``size_bytes`` is the file's.

    On a GPU ``latency_ms`` is the network alone, by the device's clock, and ``latency_with_copies_ms`` has the copies
    between host and device, through pinned memory; ``throughput`` is of inferences enqueued back to back. ``layers``
    are timed at the first batch size. ``runtime`` is how the runtime ran it, in its own words: threads, streams and so
    on.
    """

    target: str
    device: str
    precision: str
    variant: str
    batch: int
    executed_precision: str
    metrics: dict[str, Interval] = Field(default_factory=dict)
    drop: dict[str, float] = Field(default_factory=dict)
    agreement: float
    sqnr_db: float | None
    latency_ms: Latency
    throughput: float
    speedup: float
    size_bytes: int
    notes: tuple[str, ...] = ()
    latency_with_copies_ms: Latency | None = None
    gpu: GpuLoad | None = None
    layers: tuple[LayerTime, ...] = ()
    runtime: dict[str, str] = Field(default_factory=dict)

    @property
    def is_reference(self) -> bool:
        """Whether this is the FP32 that the others are measured against."""
        return self.precision == "fp32"


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


class Comparison(Record):
    """What ``comparison.json`` holds."""

    schema_version: Literal[1] = 1
    model: str
    data: str
    data_sha256: str
    samples: int
    labelled: int
    method: str
    rows: tuple[Row, ...]
    environment: Environment
    warnings: tuple[str, ...] = ()

    _folder: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path | None:
        """The run directory it was saved to or loaded from."""
        return self._folder

    def save(self, folder: Path) -> None:
        """Write ``comparison.json`` atomically."""
        write_text(folder / COMPARISON_FILE, self.model_dump_json(indent=1) + "\n")
        self._folder = folder

    @classmethod
    def load(cls, folder: Path) -> Comparison:
        """Read it from a run directory. Raises BadInput for a missing, damaged or stale file."""
        comparison = read_record(cls, folder / COMPARISON_FILE, "quantkit compare")
        comparison._folder = folder
        return comparison
