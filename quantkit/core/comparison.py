"""The result of comparing precisions on targets, which the gate and the report use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from quantkit.core.end_to_end import EndToEnd
from quantkit.core.figures import ROW_METRICS, Metric
from quantkit.core.predictions import Predictions
from quantkit.core.record import Record
from quantkit.core.serving import Serving, Together

COMPARISON_FILE = "comparison.json"
CLASSIFICATION = "classification"  # the task of files that do not name one
LAYER_SAMPLES = 32  # for layer errors; architecture.md says how far the result is from that of all samples

Share = Annotated[float, Field(ge=0, le=1)]


class Interval(Record):
    """A figure and the bounds of its 95 % confidence interval, which are None if it has none."""

    value: float
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _check(self) -> Interval:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"the interval is upside down: {self.low:g} to {self.high:g}")
        return self


class Latency(Record):
    """Percentiles of the duration of one inference, in milliseconds.

    ``p50_low`` and ``p50_high`` are the smallest and largest median of a round. They show how p50 varies between runs.
    """

    p10: PositiveFloat
    p50: PositiveFloat
    p90: PositiveFloat
    p99: PositiveFloat
    p50_low: PositiveFloat | None = None
    p50_high: PositiveFloat | None = None


class Change(Record):
    """The change of a figure from that of FP32 in onnxruntime on the same samples.

    Attributes:
        lost: The number of samples that are worse than with FP32 (right there, wrong here).
        won: The number of samples that are better than with FP32.
        low: The lower bound of the drop's 95 % interval.
        high: The upper bound of the drop's 95 % interval.
        p_value: The probability that chance alone causes such a change, by the exact McNemar test for right answers and
            by Student's paired test for other values.
    """

    lost: int
    won: int
    low: float
    high: float
    p_value: float


class LayerTime(Record):
    """The time of one layer of a compiled model.

    Attributes:
        name: The name of the layer.
        precision: The precision that it ran in.
        ms: The mean time of the layer by itself, in milliseconds.
        kind: The type of the layer, if the runtime reports it.
        kernel: The kernel that computes the layer, if the runtime reports it.
        meant: The precision that the model file asks for, if the runtime reports it.
        reason: Why the layer ran in another precision than ``meant``.
    """

    name: str
    precision: str
    ms: float
    kind: str = ""
    kernel: str = ""
    meant: str = ""
    reason: str = ""


class LayerError(Record):
    """The error of one layer's output in INT8.

    Attributes:
        name: The name of the node.
        tensor: The output of the node, as named in the user's model.
        kind: The operator, or "Input" for an input of the model.
        sqnr_db: 10·log10(Σ ref² / Σ (ref - x)²) against FP32 over the measured samples, after rounding if the tensor is
            quantized; None if bit-exact, -300 if not finite.
    """

    name: str
    tensor: str
    kind: str
    sqnr_db: float | None


class OutputError(Record):
    """The error of one output of the model, or of a part of it.

    Attributes:
        output: The name of the output.
        part: The part, which is a tensor that a Concat joined to the output, or a range of channels; empty for all of
            the output.
        sqnr_db: 10·log10(Σ ref² / Σ (ref - x)²) against FP32 in onnxruntime over all samples; None if bit-exact, and
            for integers.
        equal: The share of values that are equal to FP32's; None for floating-point numbers.
        cosine: The cosine of the angle between all values and FP32's; None for parts and integers, and if not finite.
        largest_difference: The largest difference from FP32's values, in their own units; None as above.
        measured: False if no sample could be compared.
        left_out: The number of samples whose output has another size than FP32's, which are not compared.
    """

    output: str
    part: str = ""
    sqnr_db: float | None = None
    equal: Share | None = None
    measured: bool = True
    left_out: int = 0
    cosine: float | None = None
    largest_difference: float | None = None

    @property
    def name(self) -> str:
        """The output and its part, for people."""
        return f"{self.output}, part {self.part}" if self.part else self.output

    @property
    def has_sqnr(self) -> bool:
        """True if an SQNR was measured."""
        return self.measured and self.equal is None


class Part(Record):
    """The task's main metric for a part of what is to be found.

    Attributes:
        kind: What the parts are, such as "class" or "size".
        name: The name of the part.
        value: The metric.
        objects: The number of annotated objects in it.
    """

    kind: str
    name: str
    value: float
    objects: int


class GpuLoad(Record):
    """The state of the GPU while one row's model ran without pause, from NVML; None if NVML does not report it.

    ``memory_bytes`` is the memory that the loaded model uses.
    """

    memory_bytes: int
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    power_w: float | None = None
    temperature_c: int | None = None


class Row(Record):
    """The measurements of one target, device, precision, variant, batch size and shape.

    Attributes:
        shape: The shape of the inputs that latency was measured with, in the words of ``--shape``; empty if the model's
            shapes leave no choice but the batch.
        metrics: The task's metrics, as far as they could be measured.
        drop: How much each metric is worse than that of FP32 in onnxruntime.
        agreement: The share of samples with the answer of FP32 in onnxruntime; None if the task has no answers.
        sqnr_db: 10·log10(Σ ref² / Σ (ref - x)²) over all samples, for the worst output; None for FP32 itself, for
            bit-exact outputs, and if nothing could be compared (see :attr:`has_sqnr`).
        latency_ms: The latency at ``batch``. On a GPU it is that of the network alone, by the device's clock.
        throughput: Samples per second. On a GPU inferences are enqueued back to back, kernel by kernel.
        speedup: FP32's p50 divided by this p50.
        speedup_interval: The same with its 95 % interval, from the ratios of single rounds; None for FP32, and if there
            are too few rounds.
        rounds_ms: The median latency of each round, in milliseconds. In one round all rows of a batch size take turns.
        path: The file to load, relative to the run directory, or absolute if it is the user's own; empty if it was not
            kept.
        size_bytes: The size of the files.
        end_to_end: The time of one sample from its file to its answer, in the rows of the first batch size; None if it
            was not measured.
        serving: Requests a second with several under way, in the rows of the first batch size; None if it was not
            measured.
        latency_with_copies_ms: On a GPU, the latency with copies between host and device through pinned memory.
        latency_graph_ms: On a GPU, the latency of the network alone, launched as one CUDA graph if possible.
        layers: The layers' times, in the rows of the first batch size; empty if unknown.
        runtime: How the runtime ran the model (threads, streams and so on), in its own terms.
        changes: The change of each metric from FP32's.
        parts: The main metric by class and by size, if the task tells it.
        outputs: The errors of the outputs and of their parts against FP32 in onnxruntime; empty for that itself.
        layer_errors: The layers' errors in the model's order, computed on the CPU, in the rows of the first batch size;
            empty if unknown.
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
    outputs: tuple[OutputError, ...] = ()
    speedup_interval: Interval | None = None
    rounds_ms: tuple[PositiveFloat, ...] = ()
    path: str = ""
    end_to_end: EndToEnd | None = None
    serving: Serving | None = None
    parts: tuple[Part, ...] = ()
    shape: str = ""

    def __repr__(self) -> str:
        return (
            f"Row({self.target} {self.device}, {self.precision}, batch {self.batch}, p50 {self.latency_ms.p50:.3f} ms)"
        )

    @property
    def feed(self) -> tuple[int, str]:
        """The batch size and the shape that latency was measured at."""
        return self.batch, self.shape

    @property
    def feed_name(self) -> str:
        """The same for people: ``batch 8``, or ``input_ids=1x64``."""
        return self.shape or f"batch {self.batch}"

    @property
    def has_sqnr(self) -> bool:
        """True if ``sqnr_db`` was measured; None then means bit-exact."""
        return not self.is_reference and (not self.outputs or any(error.has_sqnr for error in self.outputs))

    @property
    def worst_part(self) -> OutputError | None:
        """The part of an output with the least SQNR; None if no output has parts, or all are bit-exact."""
        parts = [error for error in self.outputs if error.part and error.sqnr_db is not None]
        return min(parts, key=lambda error: error.sqnr_db or 0.0, default=None)

    @property
    def worst_output(self) -> tuple[str, float] | None:
        """The name and the SQNR of the worst output or part of one; None if all are bit-exact, or unknown."""
        found = [(error.name, error.sqnr_db) for error in self.outputs if error.sqnr_db is not None]
        if not found and self.sqnr_db is not None:
            found = [("the worst output", self.sqnr_db)]
        return min(found, key=lambda each: each[1], default=None)

    @property
    def key(self) -> str:
        """The key that identifies the compared model, independent of the batch."""
        return model_key(self.target, self.device, self.precision, self.variant)

    @property
    def is_reference(self) -> bool:
        """True for FP32, which the other rows are compared with."""
        return self.precision == "fp32"

    @property
    def is_int8_by_name_only(self) -> bool:
        """True if the artifact is INT8, but the runtime tells that none of its layers runs in INT8."""
        told = self.executed_precision not in ("", "unknown")
        return self.precision == "int8" and told and not re.search(r"(?:u|s|i|int)8", self.executed_precision)


def model_key(target: str, device: str, precision: str, variant: str) -> str:
    """Return the key of a compared model; see :attr:`Row.key`."""
    return " ".join(filter(None, (target, device, precision, variant)))


class Advice(Record):
    """What to ship on one target and device at one batch size and shape.

    Attributes:
        precision: The precision to ship; the next fields are those of its row.
        int8: What becomes of INT8: "int8" (it is shipped), "not worth it", "tune" (faster, but it loses accuracy),
            "by name only" or "not measured".
        sentence: All of it in a sentence or two.
    """

    target: str
    device: str
    batch: int
    precision: str
    variant: str
    path: str
    size_bytes: PositiveInt
    speedup: PositiveFloat
    int8: str
    sentence: str
    shape: str = ""


class Recommendation(Record):
    """What to ship: on each target, device and batch size, and over all."""

    overall: Advice
    choices: tuple[Advice, ...]

    def __repr__(self) -> str:
        return f"Recommendation({self.overall.sentence!r})"


class Environment(Record):
    """The machine and the package versions that the figures come from."""

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
        """The hardware that latencies depend on: the CPU, its cores, and the GPU if one was measured."""
        gpu = self.gpu.partition(", driver ")[0]
        return f"{self.cpu}, {self.cores} cores{f', {gpu}' if gpu else ''}"


class Comparison(Record):
    """The contents of ``comparison.json`` and of the file beside it.

    Attributes:
        task: The name of the task.
        answers: What decides about the answers that agreement compares, in words; empty if there are none.
        metrics: The metrics of the rows, the main one first.
        predictions_sha256: The digest of the ``predictions.npz`` that belongs to this comparison.
        together: What models give that answered on several devices at the same time.
        recommendation: What follows from the rows, for readers of the file; the gate and the report derive it anew.
        predictions: The contents of that file; None if there is none.
        source: The run directory that it can be loaded from, or the file if it has another name; None if it is only in
            memory.
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
    answers: str = ""
    together: tuple[Together, ...] = ()
    recommendation: Recommendation | None = None

    predictions: Predictions | None = Field(default=None, exclude=True, repr=False)
    source: Path | None = Field(default=None, exclude=True, repr=False)

    def __repr__(self) -> str:
        return f"Comparison({self.model}, {self.samples} samples, {len(self.rows)} rows)"

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
        """Return the metric of this name: one of the task's, or one that every row has; else a plain number."""
        own = next((metric for metric in self.metrics if metric.name == name), None)
        return own or ROW_METRICS.get(name) or Metric(name=name, title=name)

    @property
    def main_metric(self) -> str | None:
        """The task's metric that the verdict and the chart use; None if no row has one."""
        measured = [name for row in self.rows for name in row.metrics]
        declared = [metric.name for metric in self.metrics if metric.name in measured]
        return next(iter([*declared, *measured]), None)
